"""What a probe reports: rows, and the measurements that make them."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from armillary.lab import catalogue, record
from armillary.lab.errors import InputError
from armillary.probe.problem import Problem

GIGA = 1e9


@dataclass(frozen=True)
class Row:
    """One measured number, with what it should be held against."""

    measurement: str
    """The measurement that made it."""
    quantity: str
    value: float | None
    """None where the number does not exist (a rate of no stability, say)."""
    error: float | None
    """A standard error, or what `error_kind` says; None where the value is exact on the data given."""
    reference: float | None
    against: str
    """What the reference is, in words."""
    meaning: str
    """One sentence."""
    source: str
    """The paper that the measurement is from."""
    study: str | None = None
    """The catalogue's paper on it."""
    verdict: str | None = None
    """That study's recorded verdict; None where it has none yet."""
    stale: bool | None = None
    error_kind: str = "standard error"
    notable: bool = False
    """Whether it is past the point where the papers found trouble."""
    detail: dict[str, Any] = field(default_factory=dict)
    """What figures and JSON show beside it."""


@dataclass
class Setting:
    """What is known besides the problem, and what earlier measurements have left for later ones."""

    rng: np.random.Generator
    learning_rate: float | None = None
    batch_size: int | None = None
    memory: float = 4 * GIGA
    """Bytes for vectors that are kept."""
    effort: tuple[int, ...] = ()
    """One of the measurement's `efforts`."""
    tell: Callable[[str], None] = lambda line: None
    found: dict[str, Any] = field(default_factory=dict)

    def keeps(self, problem: Problem, most: int, what: str) -> int:
        """How many vectors of the parameters' size to keep, `most` if they fit; says so before they are there."""
        bytes_each = problem.vector.itemsize * problem.size
        count = int(min(most, self.memory // bytes_each))
        if count < 2:
            raise InputError(
                f"{what} keeps vectors of {bytes_each / GIGA:.2g} GB each: --memory {self.memory / GIGA:.2g} (GB) "
                "holds fewer than two of them"
            )
        if count * bytes_each > 0.1 * GIGA:
            self.tell(f"{what}: keeps {count} vectors, {count * bytes_each / GIGA:.2g} GB")
        return count


@dataclass(frozen=True)
class Measurement:
    """A measurement that may be asked for by name."""

    name: str
    family: str
    what: str
    """What it measures, in a few words."""
    needs: tuple[str, ...]
    """What the problem must have; see `LACKS`."""
    cost: Callable[[Problem, Setting], float]
    """In gradients over all the data."""
    measure: Callable[[Problem, Setting], list[Row]]
    efforts: tuple[tuple[int, ...], ...] = ((),)
    """What it can do with, from dear to cheap: numbers of its own choice (products, probes)."""


LACKS = {
    "outputs": "the model's outputs (outputs=)",
    "objective": "the loss as a function of the outputs (objective=)",
    "logits": "outputs that are logits of a softmax (outputs= and objective=)",
    "features": "the features that the last layer reads (features=)",
    "labels": "integer labels (labels=)",
    "inputs": "floating-point inputs (inputs=)",
    "attention": "attention logits (attention=)",
    "activations": "hidden activations (activations=)",
    "start": "the parameters before training (start=)",
    "other": "a second model's parameters (other=)",
    "separable": "a loss that is the mean over its examples (this one is not)",
}


def lacks(problem: Problem, measurement: Measurement) -> str | None:
    """The input that a measurement would need and the problem has not."""
    for name in measurement.needs:
        if name in ("start", "other"):
            there = getattr(problem, name) is not None
        elif name == "separable":
            there = problem.separable
        else:
            there = problem.has(name)
        if not there:
            return LACKS[name]
    return None


def row(
    measurement: str,
    quantity: str,
    value: Any,
    meaning: str,
    source: str,
    study: str | None = None,
    *,
    error: Any = None,
    reference: Any = None,
    against: str = "",
    error_kind: str = "standard error",
    notable: bool = False,
    **detail: Any,
) -> Row:
    """A row, with the recorded verdict of its study."""
    verdict, stale = _verdict(study)
    return Row(
        measurement,
        quantity,
        _number(value),
        _number(error),
        _number(reference),
        against,
        meaning,
        source,
        study,
        verdict,
        stale,
        error_kind,
        bool(notable),
        detail,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _verdict(study: str | None) -> tuple[str | None, bool | None]:
    """A study's newest recorded verdict and whether its code has changed since."""
    if study is None:
        return None, None
    paper = catalogue.row(study)
    past = record.latest(paper) if paper.status == "runnable" else None
    return (past["verdict"], record.stale(paper, past)) if past else (None, None)


def standard_error(sample: np.ndarray) -> float | None:
    """Of a mean over independent examples; None for a single one."""
    return float(sample.std(ddof=1) / len(sample) ** 0.5) if len(sample) > 1 else None


def words(value: float, digits: int = 3) -> str:
    """A number for a sentence."""
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e6 else f"{value:.{digits}g}"
