"""Sweeps and stored runs as tables and files."""

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab.store import write_whole
from armillary.report.console import table, verdict

if TYPE_CHECKING:
    import polars as pl
    import xarray as xr
    from rich.table import Table


def write_parquet(data: "xr.Dataset", path: Path) -> Path:
    """A sweep as parquet: one row a run; measurements with dimensions of their own become list columns."""
    import io

    import numpy as np
    import polars as pl
    import xarray as xr

    keys = [d for d in ("arm", "seed", *data.attrs["over"]) if d in data.dims]
    sizes = [data.sizes[k] for k in keys]
    index = np.indices(sizes).reshape(len(keys), -1)
    columns = [pl.Series(k, data[k].values[i]) for k, i in zip(keys, index)]
    like = xr.DataArray(np.empty(sizes), dims=keys)
    for name, variable in data.data_vars.items():
        own = [d for d in variable.dims if d not in keys]
        values = variable.broadcast_like(like).transpose(*keys, *own).values.reshape(int(np.prod(sizes)), -1)
        if own:
            columns.append(pl.Series(str(name), np.ascontiguousarray(values)).arr.to_list())
        else:
            columns.append(pl.Series(str(name), np.ascontiguousarray(values[:, 0])))
    buffer = io.BytesIO()
    pl.DataFrame(columns).write_parquet(buffer)
    write_whole(path, buffer.getvalue())
    return path


def runs(frame: "pl.DataFrame") -> "Table":
    """Stored runs: who and when, then the settings and scalar measurements that any of them has."""
    import polars as pl

    hidden = {"versions", "shapes", "plan", "code"}
    shown = [
        name
        for name, kind in frame.schema.items()
        if name not in hidden
        and not isinstance(kind, pl.List | pl.Array)
        and frame[name].null_count() < len(frame)
    ]
    made = table(*map(_visible, shown[:14]))
    for row in frame.select(shown[:14]).iter_rows(named=True):
        made.add_row(*(_cell(name, value) for name, value in row.items()))
    return made


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if name == "run":
        return _visible(str(value)[:8])
    if name == "date":
        return _visible(str(value)[:19].replace("T", " "))
    if name == "status":
        return verdict("diverged") if value == "diverged" else _visible(str(value))
    return f"{value:.4g}" if isinstance(value, float) else _visible(str(value))


def _visible(text: str) -> str:
    """A text without the characters that steer a terminal: rows may come from somebody else's store."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def as_json(frame: "pl.DataFrame") -> list[dict[str, Any]]:
    """Stored runs as JSON objects, without the columns that they do not have."""
    found = []
    for row in frame.iter_rows(named=True):
        row = {k: v for k, v in row.items() if v is not None and k != "shapes"}
        if "versions" in row:
            with contextlib.suppress(ValueError, TypeError):  # a row of somebody else's
                row["versions"] = json.loads(row["versions"])
        found.append(row)
    return found
