"""What a study is: an experiment, its arms, and checks that a control must break.

Plain declarations: importing this module imports no JAX, and declaring a study runs nothing.
"""

import inspect
import math
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from armillary.lab.errors import InputError, nearest

if TYPE_CHECKING:
    import xarray

    Arms = Mapping[str, xarray.Dataset]
else:
    Arms = Mapping
Value = Callable[[Arms], Any]
Substitution = Mapping[str, str]

BASES = ("theory", "paper", "convention", "pilot")
COLUMNS = (
    "study", "arm", "run", "code", "seed", "status", "seconds", "date", "versions", "plan", "shapes",
)  # fmt: skip
"""Columns of the store that no setting or measurement may be called."""


@dataclass(frozen=True)
class Bound:
    """A closed interval in which a check's value must lie."""

    low: float = -math.inf
    high: float = math.inf

    def __post_init__(self) -> None:
        if not self.low <= self.high or self.low == math.inf or self.high == -math.inf:
            raise InputError(f"a bound from {self.low} to {self.high} holds no number")

    def contains(self, low: float, high: float) -> bool:
        """Whether the interval [low, high] lies inside the bound."""
        return self.low <= low and high <= self.high

    def excludes(self, low: float, high: float) -> bool:
        """Whether the interval [low, high] lies wholly outside the bound."""
        return high < self.low or low > self.high

    def __str__(self) -> str:
        if math.isinf(self.low):
            return f"≤ {self.high:g}"
        if math.isinf(self.high):
            return f"≥ {self.low:g}"
        return f"{self.low:g} to {self.high:g}"


def at_most(value: float) -> Bound:
    """The bound `x ≤ value`."""
    return Bound(high=float(value))


def at_least(value: float) -> Bound:
    """The bound `x ≥ value`."""
    return Bound(low=float(value))


def between(low: float, high: float) -> Bound:
    """The bound `low ≤ x ≤ high`."""
    if not low < high:
        raise InputError(f"between({low}, {high}): the first number must be the smaller one")
    return Bound(float(low), float(high))


def close_to(reference: float, relative: float) -> Bound:
    """The bound `|x - reference| ≤ relative · |reference|`."""
    if reference == 0 or not relative > 0 or not math.isfinite(abs(reference) * (1 + relative)):
        raise InputError(
            f"close_to({reference}, {relative}): expected a reference other than 0 and a tolerance above 0,"
            " both finite; else use between"
        )
    width = abs(reference) * relative
    return Bound(reference - width, reference + width)


@dataclass(frozen=True)
class Check:
    """One sentence of the claim, as a number that the experiment can refute.

    **Arguments:**

    - `id`: a short name, unique in the study.
    - `sentence`: what holds if the check holds.
    - `value`: all arms' data sets → one number a seed.
    - `bound`: where the mean of that number must lie.
    - `control`: a substitution of arms, `{"claim arm": "control arm"}`, under which the same value must
      leave the bound; a list of them (each must); or a function `arms -> value` of the same quantity
      without the ingredient, for a control that is another score of the same run. A precondition has none.
    - `holds_under`: substitutions under which the check must go on holding.
    - `basis`: where the threshold is from: `theory`, `paper`, `convention` or `pilot`.
    - `because`: one line, why this threshold.
    - `control_may_diverge`: a non-finite control counts as a violation of the bound.
    - `bootstrap`: the interval of the mean by percentile bootstrap instead of Student's t.
    """

    id: str
    sentence: str
    value: Value
    bound: Bound
    control: Substitution | Value | Sequence[Substitution | Value] | None = None
    _: KW_ONLY
    holds_under: Sequence[Substitution] = ()
    basis: str = "theory"
    because: str = ""
    control_may_diverge: bool = False
    bootstrap: bool = False

    def __post_init__(self) -> None:
        if self.basis not in BASES:
            raise InputError(
                f"check {self.id!r}: basis {self.basis!r}; {nearest(self.basis, BASES, what='one of')}"
            )
        if not isinstance(self.bound, Bound):
            raise InputError(f"check {self.id!r}: the bound must be at_most, at_least, between or close_to")

    @property
    def controls(self) -> tuple[Substitution | Value, ...]:
        """The controls as a tuple, whichever way they were given."""
        if self.control is None:
            return ()
        if isinstance(self.control, Mapping) or callable(self.control):
            return (self.control,)
        return tuple(self.control)


@dataclass(frozen=True)
class Report:
    """A number worth showing that decides nothing: shown with its interval, left out of the verdict."""

    id: str
    sentence: str
    value: Value


@dataclass(frozen=True)
class Study:
    """A paper's claim as an experiment that can refute it.

    **Arguments:**

    - `experiment`: `(key, *, settings) -> {name: array}`, or `(key, data, *, settings)` with `data`,
      `(key, base, *, settings)` with `base`, `(key, data, base, *, settings)` with both. Pure JAX unless
      `host`. The defaults are the `quick` scale. A float is traced; anything else is static (one compiled
      program each); a list is an axis bearing the setting's name.
    - `checks`: the claim, check by check.
    - `arms`: name → settings that differ from the defaults (or a function of the resolved settings).
    - `requires`: preconditions: checks without a control; unmet, the study is undecided.
    - `reports`: numbers that are shown and decide nothing.
    - `dims`: measurement → names of its own dimensions.
    - `coords`: dimension → its values, or a function of the settings that gives them.
    - `data`: a loader; takes the settings that it names, gives a pytree of arrays.
    - `base`: `(key, *, settings it names) -> pytree of arrays`: a trained base model, cached on disk.
    - `base_seed`: the seed of the base model.
    - `host`: run in worker processes, one a core, instead of compiling (scikit-learn, solvers).
    - `x64`: trace the whole program in 64 bit.
    - `seeds`: how many seeds by default.
    - `pilot_seeds`: seeds on which someone looked before fixing a threshold; skipped.
    - `full`: what replaces settings, `arms` or `seeds` at the `full` scale.
    - `figure`: `arms -> matplotlib Figure`.
    """

    experiment: Callable[..., Mapping[str, Any]]
    checks: Sequence[Check] = ()
    arms: Mapping[str, Any] = field(default_factory=lambda: {"default": {}})
    _: KW_ONLY
    requires: Sequence[Check] = ()
    reports: Sequence[Report] = ()
    dims: Mapping[str, Sequence[str]] = field(default_factory=dict)
    coords: Mapping[str, Any] = field(default_factory=dict)
    data: Callable[..., Any] | None = None
    base: Callable[..., Any] | None = None
    base_seed: int = 0
    host: bool = False
    x64: bool = False
    seeds: int = 8
    pilot_seeds: Sequence[int] = ()
    full: Mapping[str, Any] = field(default_factory=dict)
    figure: Callable[[Arms], Any] | None = None

    def __post_init__(self) -> None:
        self._check_signature()
        self._check_arms()
        declared: list[Check | Report] = [*self.requires, *self.checks, *self.reports]
        ids = [c.id for c in declared]
        if twice := sorted({i for i in ids if ids.count(i) > 1}):
            raise InputError(f"two checks are called {twice[0]!r}")
        for check in self.checks:
            if not check.controls:
                raise InputError(
                    f"check {check.id!r} has no control; a check that nothing breaks belongs under requires="
                )
        for check in self.requires:
            if check.controls:
                raise InputError(f"requirement {check.id!r} has a control; then it is a check")

    def _check_signature(self) -> None:
        inputs = [n for n in ("data", "base") if getattr(self, n) is not None]
        parameters = inspect.signature(self.experiment).parameters.values()
        positional = [p.name for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        if len(positional) != 1 + len(inputs):
            expected = ", ".join(["key", *inputs, "*", "settings"])
            raise InputError(f"the experiment's signature must be ({expected}), not {tuple(positional)}")
        for p in parameters:
            if p.kind is p.KEYWORD_ONLY and p.default is p.empty:
                raise InputError(f"setting {p.name!r} has no default; defaults are the quick scale")
        if clash := sorted(set(self.defaults) & set(COLUMNS)):
            raise InputError(f"setting {clash[0]!r} is the name of a column of the store")
        if unknown := sorted(set(self.full) - set(self.defaults) - {"arms", "seeds"}):
            raise InputError(f"full: unknown setting {unknown[0]!r}; {nearest(unknown[0], self.defaults)}")

    def _check_arms(self) -> None:
        for arms in (self.arms, self.full.get("arms", {})):
            for name, changes in arms.items():
                if isinstance(changes, Mapping) and (unknown := set(changes) - set(self.defaults)):
                    bad = min(unknown)
                    raise InputError(f"arm {name!r}: unknown setting {bad!r}; {nearest(bad, self.defaults)}")
        for check in self.checks:
            for sub in (*check.controls, *check.holds_under):
                names = (*sub.keys(), *sub.values()) if isinstance(sub, Mapping) else ()
                for arms in (self.arms, self.full.get("arms", self.arms)):
                    for arm in names:
                        if arm not in arms:
                            hint = nearest(arm, arms, what="arms")
                            raise InputError(f"check {check.id!r}: no arm {arm!r}; {hint}")

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The settings and their values at the quick scale."""
        parameters = inspect.signature(self.experiment).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The valid values of the settings annotated with `typing.Literal`."""
        try:
            hints = typing.get_type_hints(self.experiment)
        except NameError:  # an annotation for readers only
            return {}
        return {
            name: typing.get_args(hint)
            for name, hint in hints.items()
            if name in self.defaults and typing.get_origin(hint) is typing.Literal
        }
