"""Checks as intervals against their bounds: what a page's drawing needs, in per cent of its width."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from armillary.lab.record import Record

MARGIN = 4.0
"""Per cent of the width that is left free at each end."""


@dataclass(frozen=True)
class Row:
    """One interval: the claim's, a control's, or one under which the check must go on holding."""

    kind: str
    label: str
    low: float | None
    high: float | None
    words: str
    inside: bool | None
    """Whether it lies inside the bound; None if it straddles it or is not finite."""
    as_it_must: bool
    left: float = 0.0
    width: float = 0.0

    @property
    def says(self) -> str:
        """Where the interval lies."""
        if self.low is None:
            return "not finite"
        return {True: "inside", False: "outside", None: "straddles"}[self.inside]


@dataclass(frozen=True)
class Drawing:
    """A check's rows, its bound and its ticks."""

    rows: tuple[Row, ...]
    bound: tuple[float, float]
    """Left end and width of the shaded bound."""
    ends: tuple[float, ...]
    """Where the bound's finite ends are."""
    ticks: tuple[tuple[float, str], ...]
    scale: str


def drawing(check: Record) -> Drawing:
    """The drawing of a check, a precondition or a report as the record has it."""
    low, high = check["bound"]
    bound = (-math.inf if low is None else low, math.inf if high is None else high)
    rows = [("claim", "claim" if check["controls"] else "measured", check)]
    rows += [("control", control["substitution"], control) for control in check["controls"]]
    rows += [
        ("claim", f"also under {other['substitution']}", other) for other in check.get("holds_under", ())
    ]
    ends = [e for e in bound if math.isfinite(e)]
    values = [v for _, _, r in rows for v in (r["low"], r["high"]) if v is not None]
    scale, forward, back = _scale([*values, *ends], ends)
    at = [forward(v) for v in [*values, *ends]] or [0.0, 1.0]
    span = max(max(at) - min(at), 1e-12 + 0.02 * max(map(abs, at)))
    first = (max(at) + min(at) - span) / 2

    def place(value: float) -> float:
        if math.isinf(value):
            return 0.0 if value < 0 else 100.0
        return MARGIN + (100 - 2 * MARGIN) * (forward(value) - first) / span

    def row(kind: str, label: str, found: Record) -> Row:
        a, b = found["low"], found["high"]
        if a is None or b is None:
            return Row(kind, label, None, None, "not finite", None, kind == "control")
        inside = True if bound[0] <= a and b <= bound[1] else False if b < bound[0] or a > bound[1] else None
        must = inside is (kind != "control")
        return Row(kind, label, a, b, interval(a, b), inside, must, place(a), place(b) - place(a))

    left, right = place(bound[0]), place(bound[1])
    return Drawing(
        tuple(row(*r) for r in rows),
        (left, right - left),
        tuple(place(e) for e in ends),
        tuple((place(v), _number(v)) for v in _ticks(scale, back, first, span)),
        scale,
    )


def interval(low: float, high: float) -> str:
    """An interval in as many digits as tell its ends apart."""
    if low == high:
        return _number(low)
    spread = abs(high - low) / max(abs(low), abs(high))
    digits = min(6, max(3, 2 - math.floor(math.log10(spread))))
    return f"{_number(low, digits)} to {_number(high, digits)}"


def _number(value: float, digits: int = 4) -> str:
    return f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def bound_words(check: Record) -> str:
    """The bound as one reads it: `≤ 0.05`, `0.5 to 1`."""
    low, high = check["bound"]
    if low is None and high is None:
        return ""
    if low is None:
        return f"≤ {_number(high)}"
    return f"≥ {_number(low)}" if high is None else f"{_number(low)} to {_number(high)}"


Map = Callable[[float], float]


def _scale(values: Sequence[float], ends: Sequence[float]) -> tuple[str, Map, Map]:
    """Linear; logarithmic for positive numbers over decades; linear near zero and logarithmic beyond otherwise."""
    size = [abs(v) for v in values if v]
    if not size or max(size) / max(min(size), 1e-300) < 30:
        return "linear", float, float
    if min(values) > 0:
        return "log", math.log10, lambda x: 10.0**x
    near = min((abs(e) for e in ends if e), default=sorted(size)[len(size) // 2])
    if max(size) < 30 * near:
        return "linear", float, float
    return "symlog", lambda v: math.asinh(v / near), lambda x: near * math.sinh(x)


def _ticks(scale: str, back: Map, first: float, span: float) -> list[float]:
    if scale == "log":
        lowest, highest = math.ceil(first - 1e-9), math.floor(first + span + 1e-9)
        every = max(1, math.ceil((highest - lowest + 1) / 6))
        decades = [10.0**e for e in range(lowest, highest + 1, every)]
        if len(decades) >= 2:
            return decades
        return _nice(back(first), back(first + span))
    if scale == "symlog":
        found: dict[float, None] = {}
        for i in range(5):
            value = back(first + span * i / 4)
            found[0.0 if abs(value) < 1e-12 else float(f"{value:.1g}")] = None
        low, high = back(first), back(first + span)
        return [v for v in found if low <= v <= high]
    return _nice(first, first + span)


def _nice(low: float, high: float) -> list[float]:
    raw = (high - low) / 4
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(m * size for m in (1, 2, 5, 10) if m * size >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [float(f"{i * step:.10g}") for i in range(first, last + 1)]


def drawn(checks: Sequence[Record]) -> list[dict[str, Any]]:
    """Checks with their drawings and the words for their bounds."""
    return [{**check, "drawing": drawing(check), "bound_words": bound_words(check)} for check in checks]
