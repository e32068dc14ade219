"""Tables for the terminal."""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from armillary.lab import settings
from armillary.report import listing

if TYPE_CHECKING:
    import xarray as xr

    from armillary.lab.verdict import Interval, Judged
    from armillary.result import Result

COLOURS = listing.COLOURS | {"met": "green", "unmet": "red"}


def console() -> Console:
    """Standard output: the terminal's width there, 120 columns in a pipe or a file.

    Words are printed as they are: what looks like markup in a name is the name.
    """
    plain: dict[str, Any] = {"highlight": False, "markup": False, "emoji": False}
    out = Console(**plain)
    return out if out.is_terminal else Console(**plain, width=120)


def verdict(word: str | None) -> Text:
    """A verdict in its colour."""
    return Text(word or "", style=COLOURS.get(word or "", ""))


def interval(found: "Interval") -> str:
    """An interval in as many digits as tell its ends apart."""
    if math.isnan(found.low):
        return "not finite"
    if math.isinf(found.low):
        return "one seed"
    if found.low == found.high:
        return f"{found.low:.4g}"
    spread = abs(found.high - found.low) / max(abs(found.low), abs(found.high))
    digits = min(6, max(3, 2 - math.floor(math.log10(spread)))) if spread > 0 else 4
    return f"{found.low:.{digits}g} to {found.high:.{digits}g}"


def table(*columns: str, **options: Any) -> Table:
    """A plain table with these headings."""
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, **options)
    for name in columns:
        made.add_column(Text(name))
    return made


def result(found: "Result", figure: str | None = None) -> RenderableType:
    """A run: verdict, checks with their controls beside them, preconditions, reports, time, figure."""
    swept = found.swept
    head = Text.assemble(
        (found.entry.title, "bold"),
        "\n",
        ("verdict: ", ""),
        verdict(found.verdict),
        f"  ({found.seeds} seeds, {found.scale})",
    )
    if found.judgement.reason:
        head.append(f"\n{found.judgement.reason}")
    for line in settings.kept_in_words(found.kept):
        head.append(f"\n{line}")
    parts: list[RenderableType] = [head, _checks(found.checks)]
    if found.requires:
        parts.append(_others("requires", found.requires))
    if found.reports:
        parts.append(_others("reports", found.reports))
    spent = f"{found.seconds:.1f} s"
    if swept.computed:
        spent += (
            f" ({swept.compile_seconds:.1f} s compiling, {swept.run_seconds:.1f} s running, over all devices)"
        )
    if swept.reused:
        spent += f"; {swept.reused} of {swept.reused + swept.computed} runs from the store"
    parts.append(Text(f"time: {spent}"))
    if figure:
        parts.append(Text(f"figure: {figure}"))
    return Group(*parts)


def _checks(checks: "Iterable[Judged]") -> Table:
    made = table(
        "check", "what must hold", "99% interval", "bound", "control, which must break it", "verdict"
    )
    for check in checks:
        controls = "\n".join(f"{c.substitution}: {interval(c.interval)}" for c in check.controls)
        others = "".join(f"\nunder {c.substitution}: {interval(c.interval)}" for c in check.holds_under)
        sentence = Text.assemble(check.sentence, (" (pilot)" if check.basis == "pilot" else "", "dim"))
        made.add_row(
            check.id,
            sentence,
            interval(check.interval) + others,
            str(check.bound),
            controls,
            verdict(check.verdict),
        )
    made.columns[0].no_wrap = made.columns[5].no_wrap = True
    return made


def _others(kind: str, items: "Iterable[Judged]") -> Table:
    made = table(kind, "", "99% interval", *(("bound", "") if kind == "requires" else ()))
    for item in items:
        extra = (str(item.bound), verdict(item.verdict)) if kind == "requires" else ()
        made.add_row(item.id, item.sentence, interval(item.interval), *extra)
    return made


def sweep(data: "xr.Dataset", axes: Sequence[str], *, limit: int = 40) -> tuple[Table, int]:
    """Mean over seeds of every scalar measurement at each swept point; the table and how many rows it left out.

    Where there are only curves, it is their last values.
    """
    names = scalars(data, axes)
    ends = {d: -1 for d in data.dims if d not in ("arm", "seed", *axes)}
    means = (data[names] if names else data.isel(ends, drop=True)).mean("seed").to_dataframe().reset_index()
    keys = [k for k in ("arm", *axes) if k in means]
    means = means[[*keys, *(c for c in means if c not in keys)]]
    made = table(*means.columns)
    made.caption = None if names else "the last value of each curve"
    for row in means.head(limit).itertuples(index=False):
        made.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row))
    return made, max(0, len(means) - limit)


def scalars(data: "xr.Dataset", axes: Sequence[str]) -> list[str]:
    """The measurements that are one number a run."""
    return [
        str(name)
        for name, v in data.data_vars.items()
        if set(v.dims) <= {"arm", "seed", *axes} and "seed" in v.dims
    ]
