"""Intervals over seeds, controls, verdicts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from armillary.lab.errors import RunError
from armillary.lab.study import Arms, Bound, Check, Study, Substitution, Value

if TYPE_CHECKING:
    import numpy as np

Verdict = Literal["undecided", "fails", "diverged", "vacuous", "holds"]
ORDER: tuple[Verdict, ...] = ("fails", "diverged", "vacuous", "undecided", "holds")
"""A study's verdict is the first of these that any of its checks has."""
LEVEL = 0.99
MIN_SEEDS = 5
STAGES = (8, 16, 32, 64)
"""Numbers of seeds at which `--until-decided` looks; each look gets an equal part of the level."""


@dataclass(frozen=True)
class Interval:
    """An interval of the mean over seeds; NaN at both ends if a seed's value is not finite."""

    low: float
    high: float
    seeds: int

    @property
    def finite(self) -> bool:
        """Whether both ends are numbers."""
        return math.isfinite(self.low) and math.isfinite(self.high)


@dataclass(frozen=True)
class Control:
    """The same value under a substitution, which must violate the bound."""

    substitution: str
    interval: Interval


@dataclass(frozen=True)
class Judged:
    """A check, a precondition or a report with its interval."""

    id: str
    sentence: str
    bound: Bound
    interval: Interval
    verdict: Verdict | Literal["met", "unmet", "shown"]
    controls: tuple[Control, ...] = ()
    holds_under: tuple[Control, ...] = ()
    basis: str = ""
    because: str = ""
    reason: str = ""
    """Why a check is undecided or vacuous, in a few words."""


@dataclass(frozen=True)
class Judgement:
    """A study's verdict and what it was made of."""

    verdict: Verdict
    checks: tuple[Judged, ...]
    requires: tuple[Judged, ...] = ()
    reports: tuple[Judged, ...] = ()
    reason: str = field(default="")


class _Substituted(Mapping[str, Any]):
    """Arms seen through a substitution."""

    def __init__(self, arms: Arms, substitution: Substitution):
        self.arms, self.substitution = arms, substitution

    def __getitem__(self, name: str) -> Any:
        return self.arms[self.substitution.get(name, name)]

    def __iter__(self) -> Any:
        return iter(self.arms)

    def __len__(self) -> int:
        return len(self.arms)


def interval(values: "np.ndarray", level: float = LEVEL, *, bootstrap: bool = False) -> Interval:
    """The interval of the mean of one number a seed: Student's t, or the percentile bootstrap.

    One seed gives no interval (both ends infinite).
    """
    import numpy as np
    from scipy.special import stdtrit

    count = len(values)
    if not np.all(np.isfinite(values)):
        return Interval(math.nan, math.nan, count)
    mean = float(np.mean(values))
    if count < 2:
        return Interval(-math.inf, math.inf, count)
    if bootstrap:
        draws = np.random.default_rng(0).integers(count, size=(10_000, count))
        low, high = np.quantile(values[draws].mean(1), [(1 - level) / 2, (1 + level) / 2])
        return Interval(float(low), float(high), count)
    half = float(stdtrit(count - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(count))
    return Interval(mean - half, mean + half, count)


def judge(study: Study, arms: Arms, *, level: float = LEVEL) -> Judgement:
    """The verdict of a study on its arms' data sets.

    A check, in this order: an unmet precondition or fewer than 5 seeds → undecided; a non-finite claim →
    diverged; the claim's interval wholly outside the bound → fails; a control's interval inside the bound →
    vacuous; anything that straddles, or a non-finite control unless it may diverge → undecided; else holds.
    """
    requires = tuple(_require(check, arms, level) for check in study.requires)
    unmet = [r.id for r in requires if r.verdict == "unmet"]
    checks = tuple(_check(check, arms, level, unmet) for check in study.checks)
    reports = tuple(
        Judged(r.id, r.sentence, Bound(), interval(_values(r.id, r.value, arms), level), "shown")
        for r in study.reports
    )
    if unmet:
        return Judgement("undecided", checks, requires, reports, f"precondition {unmet[0]} is unmet")
    found = {c.verdict for c in checks}
    verdict: Verdict = next((v for v in ORDER if v in found), "undecided")
    reason = next((f"{c.id}: {c.reason}" for c in checks if c.verdict == verdict and c.reason), "")
    return Judgement(verdict, checks, requires, reports, reason)


def _require(check: Check, arms: Arms, level: float) -> Judged:
    found = interval(_values(check.id, check.value, arms), level, bootstrap=check.bootstrap)
    met = found.finite and check.bound.contains(found.low, found.high)
    return Judged(
        check.id,
        check.sentence,
        check.bound,
        found,
        "met" if met else "unmet",
        basis=check.basis,
        because=check.because,
    )


def _check(check: Check, arms: Arms, level: float, unmet: Sequence[str]) -> Judged:
    claim = interval(_values(check.id, check.value, arms), level, bootstrap=check.bootstrap)
    controls = tuple(_control(check, c, arms, level) for c in check.controls)
    others = tuple(_control(check, c, arms, level) for c in check.holds_under)
    verdict, reason = _decide(check, claim, controls, others, unmet)
    return Judged(
        check.id,
        check.sentence,
        check.bound,
        claim,
        verdict,
        controls,
        others,
        check.basis,
        check.because,
        reason,
    )


def _decide(
    check: Check,
    claim: Interval,
    controls: Sequence[Control],
    others: Sequence[Control],
    unmet: Sequence[str],
) -> tuple[Verdict, str]:
    bound = check.bound
    claims = [claim, *(o.interval for o in others)]
    if unmet:
        return "undecided", f"precondition {unmet[0]} is unmet"
    if claim.seeds < MIN_SEEDS:
        return "undecided", f"{claim.seeds} seeds; at least {MIN_SEEDS} decide"
    if not all(c.finite for c in claims):
        return "diverged", "the claim's value is not finite"
    if any(bound.excludes(c.low, c.high) for c in claims):
        return "fails", ""
    for control in controls:
        if control.interval.finite and bound.contains(control.interval.low, control.interval.high):
            return "vacuous", f"the control {control.substitution} meets the bound too"
    if not all(bound.contains(c.low, c.high) for c in claims):
        return "undecided", "the interval straddles the bound"
    for control in controls:
        if not control.interval.finite:
            if not check.control_may_diverge:
                return "undecided", f"the control {control.substitution} is not finite"
        elif not bound.excludes(control.interval.low, control.interval.high):
            return "undecided", f"the control {control.substitution} straddles the bound"
    return "holds", ""


def _control(check: Check, control: Substitution | Value, arms: Arms, level: float) -> Control:
    if isinstance(control, Mapping):
        words = ", ".join(f"{a} → {b}" for a, b in control.items())
        values = _values(check.id, check.value, _Substituted(arms, control))
    else:
        words = getattr(control, "__name__", "control").replace("_", " ").replace("<lambda>", "another score")
        values = _values(check.id, control, arms)
    return Control(words, interval(values, level, bootstrap=check.bootstrap))


def _values(name: str, value: Value, arms: Arms) -> "np.ndarray":
    import numpy as np

    try:
        found = value(arms)
    except Exception as error:
        raise RunError(f"check {name!r} cannot be computed: {type(error).__name__}: {error}") from error
    found = np.asarray(found, np.float64)
    seeds = next(iter(arms.values())).sizes["seed"]
    if found.shape != (seeds,):
        raise RunError(f"check {name!r} must give one number a seed, shape ({seeds},); it gave {found.shape}")
    return found
