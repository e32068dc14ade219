"""A study that was run: its data, its verdict, its figure."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from armillary.lab import record
from armillary.lab.catalogue import Entry
from armillary.lab.verdict import Judged, Judgement, Verdict

if TYPE_CHECKING:
    import xarray as xr

    from armillary.lab.sweep import Swept


@dataclass(frozen=True)
class Result:
    """What `armillary.run` returns."""

    entry: Entry
    scale: str
    seeds: int
    first_seed: int
    settings: dict[str, Any]
    judgement: Judgement
    swept: "Swept"
    kept: dict[str, list[str]] = field(default_factory=dict)
    """The arms that keep a value of their own for a setting that was given."""

    @property
    def verdict(self) -> Verdict:
        """`holds`, `fails`, `diverged`, `vacuous` or `undecided`."""
        return self.judgement.verdict

    @property
    def checks(self) -> tuple[Judged, ...]:
        """Each check with its interval, its controls' intervals and its verdict."""
        return self.judgement.checks

    @property
    def requires(self) -> tuple[Judged, ...]:
        """The preconditions, `met` or `unmet`."""
        return self.judgement.requires

    @property
    def reports(self) -> tuple[Judged, ...]:
        """Numbers that decide nothing."""
        return self.judgement.reports

    @property
    def data(self) -> "dict[str, xr.Dataset]":
        """Each arm's measurements: dims `seed`, one a swept setting, then the measurement's own."""
        return self.swept.data

    @property
    def seconds(self) -> float:
        """From call to data, on the wall's clock."""
        return self.swept.seconds

    def figure(self) -> Any:
        """The study's matplotlib figure; without one of its own, its checks' intervals against their bounds."""
        from armillary.report import figures

        return figures.of_result(self)

    def to_json(self, figure: str | None = None) -> dict[str, Any]:
        """The result as one JSON object; infinite bounds and NaN are null."""
        body = {
            "slug": self.entry.slug,
            "scale": self.scale,
            "seeds": self.seeds,
            "first_seed": self.first_seed,
            "settings": self.settings,
            **({"kept": self.kept} if self.kept else {}),
            "seconds": round(self.seconds, 2),
            "compile_seconds": round(self.swept.compile_seconds, 2),
            "run_seconds": round(self.swept.run_seconds, 2),
            "computed": self.swept.computed,
            "reused": self.swept.reused,
            "verdict": self.verdict,
            "reason": self.judgement.reason,
            "checks": judged(self.checks),
            "requires": judged(self.requires),
            "reports": judged(self.reports),
            "figure": figure,
        }
        return record.plain(body)

    def __repr__(self) -> str:
        checks = ", ".join(f"{c.id} {c.verdict}" for c in self.checks)
        return f"Result({self.entry.slug}: {self.verdict}; {checks}; {self.seeds} seeds)"


def judged(items: Iterable[Judged]) -> list[dict[str, Any]]:
    """Checks, preconditions or reports as JSON objects."""

    def ends(controls: Any) -> list[dict[str, Any]]:
        return [
            {"substitution": c.substitution, "low": c.interval.low, "high": c.interval.high} for c in controls
        ]

    return [
        {
            "id": item.id,
            "sentence": item.sentence,
            "low": item.interval.low,
            "high": item.interval.high,
            "bound": [item.bound.low, item.bound.high],
            "controls": ends(item.controls),
            **({"holds_under": ends(item.holds_under)} if item.holds_under else {}),
            "verdict": item.verdict,
            **({"basis": item.basis} if item.basis else {}),
            **({"because": item.because} if item.because else {}),
            **({"reason": item.reason} if item.reason else {}),
        }
        for item in items
    ]
