"""Logged series: early warnings of a transition in metrics that a training run wrote down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armillary.lab.errors import InputError, nearest
from armillary.measure.early_warning import early_warning
from armillary.probe.rows import Row, row, words

WARNING = "Early warning signals: The charted and uncharted territories (2013)"


def read(path: Path, columns: Sequence[str] | None) -> dict[str, np.ndarray]:
    """Columns of a CSV or parquet file as series, rows without a number left out.

    **Raises:** `InputError` for a file or column that is not there, or a column that is not numbers.
    """
    import polars as pl

    if not path.is_file():
        raise InputError(f"{path}: no such file")
    readers: dict[str, Any] = {".csv": pl.read_csv, ".parquet": pl.read_parquet}
    if path.suffix not in readers:
        raise InputError(f"{path}: expected a .csv or .parquet file")
    try:
        frame = readers[path.suffix](path)
    except Exception as error:
        raise InputError(f"{path}: cannot be read ({str(error).splitlines()[0]})") from None
    numbers = [n for n, kind in frame.schema.items() if kind.is_numeric()]
    found = {}
    for name in columns or [
        n for n in numbers if n.lower() not in ("step", "epoch", "iteration", "time", "")
    ]:
        if name not in frame.columns:
            raise InputError(f"{path} has no column {name!r}; {nearest(name, frame.columns, what='columns')}")
        if name not in numbers:
            raise InputError(f"{path}: column {name!r} is {frame.schema[name]}, expected numbers")
        values = frame[name].drop_nulls().to_numpy().astype(float)
        if not np.isfinite(values).all():
            first = int(np.argmin(np.isfinite(values)))
            raise InputError(
                f"{path}: column {name!r} is {values[first]} at row {first + 1}: cut the series before it"
            )
        if len(values) < 20:
            raise InputError(f"{path}: column {name!r} has {len(values)} numbers; trends need 20 or more")
        found[name] = values
    if not found:
        raise InputError(f"{path}: no column of numbers besides the step; name one with --columns")
    return found


def rows(
    name: str,
    series: np.ndarray,
    *,
    rng: np.random.Generator,
    window: int | None = None,
    surrogates: int = 200,
) -> list[Row]:
    """Two rows a series: the trends of variance and of lag-1 autocorrelation."""
    found = early_warning(series, rng=rng, window=window, surrogates=surrogates)
    made = []
    for indicator, words_of in (("variance", "fluctuations"), ("autocorrelation", "memory")):
        trend, p = found.trend[indicator], found.p_value[indicator]
        null = found.surrogates[indicator]
        values = getattr(found, indicator)
        made.append(
            row(
                "series",
                f"{name}: trend of its {indicator}",
                trend,
                (
                    f"{words_of} rise, as before a tipping point; {p:.1%} of stationary surrogates rise as much"
                    if p < 0.05
                    else f"no warning: {p:.0%} of stationary surrogates rise as much (a jump by noise alone gives none)"
                ),
                WARNING,
                "critical-slowing-down",
                error=float(null.std(ddof=1)),
                error_kind="spread of the surrogates",
                reference=float(np.quantile(null, 0.95)),
                against="95% of stationary surrogates",
                notable=p < 0.05,
                p_value=p,
                first=float(values[0]),
                last=float(values[-1]),
                curve=values,
                surrogates=null,
                series=series,
                change=words(values[-1] / values[0]) if values[0] else None,
            )
        )
    return made
