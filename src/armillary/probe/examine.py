"""Examining a problem: which measurements apply, which fit the time, what they say."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from armillary.lab import catalogue
from armillary.lab.errors import InputError, nearest
from armillary.lab.record import plain
from armillary.probe import curvature, fragility, health, logs, noise, pair, rates, regime, representation
from armillary.probe.problem import Problem
from armillary.probe.rows import GIGA, Measurement, Row, Setting, lacks

MEASUREMENTS: tuple[Measurement, ...] = (
    *curvature.MEASUREMENTS,
    *noise.MEASUREMENTS,
    *representation.MEASUREMENTS,
    *regime.MEASUREMENTS,
    *health.MEASUREMENTS,
    *pair.MEASUREMENTS,
    *fragility.MEASUREMENTS,
    *rates.MEASUREMENTS,
)
"""In the order of the report."""


@dataclass(frozen=True)
class Report:
    """What a probe found."""

    facts: dict[str, Any]
    """The problem: framework, parameters, examples, loss."""
    rows: list[Row]
    left_out: list[dict[str, Any]] = field(default_factory=list)
    """What did not fit the budget, with what it would have cost."""
    lacking: list[dict[str, str]] = field(default_factory=list)
    """What cannot apply, with the input that it lacks."""
    failed: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    spent: dict[str, float] = field(default_factory=dict)
    """Seconds a measurement."""

    def to_json(self) -> dict[str, Any]:
        """The report as one JSON object; numbers that are not finite are null."""
        return plain(
            {
                **self.facts,
                "rows": [vars(row) for row in self.rows],
                "left_out": self.left_out,
                "lacking": self.lacking,
                "failed": self.failed,
                "notes": self.notes,
                "seconds": round(self.seconds, 2),
                "spent": {name: round(seconds, 2) for name, seconds in self.spent.items()},
            }
        )

    def __getitem__(self, quantity: str) -> Row:
        """The first row whose quantity contains these words."""
        for row in self.rows:
            if quantity in row.quantity:
                return row
        raise KeyError(f"no row {quantity!r}; there are {', '.join(r.quantity for r in self.rows)}")


def choose(only: Sequence[str] | None) -> list[Measurement]:
    """The measurements of these names or families; all of them for None.

    **Raises:** `InputError` for a name that is neither.
    """
    if not only:
        return list(MEASUREMENTS)
    names = {m.name for m in MEASUREMENTS} | {m.family for m in MEASUREMENTS}
    for name in only:
        if name not in names:
            raise InputError(f"no measurement {name!r}; {nearest(name, sorted(names), what='there are')}")
    return [m for m in MEASUREMENTS if {m.name, m.family} & set(only)]


def examine(
    problem: Problem,
    *,
    only: Sequence[str] | None = None,
    budget: float | None = 60.0,
    memory: float = 4.0,
    learning_rate: float | None = None,
    batch_size: int | None = None,
    key: int = 0,
    tell: Callable[[str], None] | None = None,
) -> Report:
    """Measure a model the way the catalogue's papers do.

    **Arguments:**

    - `problem`: from [`from_jax`][armillary.probe.from_jax] or [`from_torch`][armillary.probe.from_torch].
    - `only`: names of measurements or of families; all that apply by default.
    - `budget`: seconds. Cheap measurements come first; what no longer fits is left out, with its cost. None: no
      limit. Estimates, not a deadline: a measurement that has begun is finished.
    - `memory`: GB for vectors of the parameters' size that are kept (Krylov bases, per-example gradients).
    - `learning_rate`, `batch_size`: of the training run, for the references that need them.
    - `key`: the random vectors' seed. The same key gives the same report.
    - `tell`: is told, line by line, what is being done.

    **Returns:** a [`Report`][armillary.probe.Report].

    **Raises:** `InputError` for settings that cannot be.
    """
    _check(budget, memory, learning_rate, batch_size, key)
    began = time.perf_counter()
    chosen = choose(only)
    notes: list[str] = []

    def note(line: str) -> None:
        notes.append(line)
        if tell:
            tell(line)

    found: dict[str, Any] = {}
    setting = Setting(
        np.random.default_rng(), learning_rate, batch_size, memory * GIGA, tell=note, found=found
    )
    facts = {
        "framework": problem.framework,
        "parameters": problem.size,
        "examples": problem.examples,
        "micro_batches": len(problem.sizes),
        "loss": problem.base_loss,
        "learning_rate": learning_rate,
        "batch_size": batch_size,
        "key": key,
    }
    lacking, todo = [], []
    for one in chosen:
        if missing := lacks(problem, one):
            lacking.append({"measurement": one.name, "what": one.what, "lacks": missing})
        else:
            todo.append(one)
    rows: dict[str, list[Row]] = {}
    left_out, failed = [], []
    spent: dict[str, float] = {}
    gradient = problem.seconds
    start_up = 0.0 if problem.framework == "torch" else 2.0

    def cost(one: Measurement, effort: tuple[int, ...]) -> float:
        setting.effort = effort
        return start_up + one.cost(problem, setting) * gradient

    # Later measurements use the direction that sharpness finds, so it comes first, but with half of the time at
    # most; the rest goes from cheap to dear.
    for one in sorted(todo, key=lambda m: (m.name != "sharpness", cost(m, m.efforts[-1]))):
        left = np.inf if budget is None else budget - (time.perf_counter() - began)
        share = left / 2 if one.name == "sharpness" and len(todo) > 1 else left
        effort = next((e for e in one.efforts if cost(one, e) <= share), one.efforts[-1])
        if (seconds := cost(one, effort)) > left:
            left_out.append({"measurement": one.name, "what": one.what, "seconds": round(seconds, 1)})
            continue
        if tell:
            tell(f"{one.name}: about {seconds:.0f} s")
        setting.effort = effort
        setting.rng = np.random.default_rng([key, *one.name.encode()])
        started = time.perf_counter()
        try:
            rows[one.name] = one.measure(problem, setting)
        except InputError:
            raise
        except Exception as error:
            failed.append({"measurement": one.name, "what": one.what, "error": _first_line(error)})
        spent[one.name] = time.perf_counter() - started
    return Report(
        facts,
        [row for one in chosen for row in rows.get(one.name, [])],
        left_out,
        lacking,
        failed,
        notes,
        time.perf_counter() - began,
        spent,
    )


def examine_log(path: str | Path, columns: Sequence[str] | None = None, *, key: int = 0) -> Report:
    """Look for early warnings in the metrics that a training run logged.

    **Arguments:**

    - `path`: a CSV or parquet file, a row a step.
    - `columns`: which; all columns of numbers but the step by default.
    - `key`: the surrogates' seed.

    **Raises:** `InputError` for a file or column that is not there or holds no usable series.
    """
    began = time.perf_counter()
    series = logs.read(Path(path), columns)
    rows = [
        row
        for name, values in series.items()
        for row in logs.rows(name, values, rng=np.random.default_rng([key, *name.encode()]))
    ]
    facts = {"log": str(path), "steps": max(map(len, series.values())), "key": key}
    return Report(facts, rows, seconds=time.perf_counter() - began)


def load(target: str) -> Problem:
    """The problem that `FILE.py:FUNCTION` returns.

    **Raises:** `InputError` if there is no such file or function, or if it returns something else.
    """
    name, _, function = target.rpartition(":")
    if not name or not function.isidentifier():
        raise InputError(f"{target!r}: expected FILE.py:FUNCTION, as in model.py:problem")
    path = Path(name).expanduser().resolve()
    if path.suffix != ".py" or not path.is_file():
        raise InputError(f"{name}: no such Python file")
    module = catalogue.load_file(path)
    made = getattr(module, function, None)
    if not callable(made):
        own = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise InputError(f"{name} has no function {function!r}; {nearest(function, own, what='functions')}")
    try:
        problem = made()
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{catalogue.line_of(error, path)}: {function}() fails: {type(error).__name__}: {error}"
        ) from None
    if not isinstance(problem, Problem):
        raise InputError(
            f"{target} returns {type(problem).__name__}; expected a problem of probe.from_jax or from_torch"
        )
    return problem


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    word = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
    return word + (lines[0] if lines else "no message")


def _check(
    budget: float | None, memory: float, learning_rate: float | None, batch_size: int | None, key: int
) -> None:
    for name, value in (("budget", budget), ("memory", memory), ("learning_rate", learning_rate)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise InputError(f"{name}={value}: expected a positive number")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"batch_size={batch_size}: expected 1 or more")
    if key < 0:
        raise InputError(f"key={key}: expected 0 or more")
