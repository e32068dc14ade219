"""The record of runs on disk: parquet files, written whole and renamed; queries are polars scans.

One file holds the rows of one finished chunk, one row a run. Two writers never meet, nothing half-written is
read, and of two rows of the same run the newest wins.
"""

import contextlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab.errors import InputError, nearest

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Measurements = dict[str, np.ndarray]


def home() -> Path:
    """`$ARMILLARY_HOME`, else `armillary` in the XDG data directory."""
    if own := os.environ.get("ARMILLARY_HOME"):
        return Path(own).expanduser()
    return (
        Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share").expanduser() / "armillary"
    )


def write_whole(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside it, then rename it: a reader sees all of it or none.

    **Raises:** `InputError` if the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


@dataclass
class Store:
    """The runs under a folder, `$ARMILLARY_HOME` by default."""

    root: Path = field(default_factory=home)
    set_aside: list[str] = field(default_factory=list)
    """One line for each file that could not be read and was renamed."""

    def check(self) -> None:
        """Raise `InputError` now if the store cannot be written, not after the first minute of work."""
        probe = self.root / "runs" / ".writable"
        write_whole(probe, b"")
        probe.unlink(missing_ok=True)

    def append(self, study: str, code: str, frame: "pl.DataFrame") -> Path:
        """Write the rows of one finished chunk."""
        import io

        buffer = io.BytesIO()
        frame.write_parquet(buffer, compression="lz4")
        path = self.root / "runs" / study / code / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}.parquet"
        write_whole(path, buffer.getvalue())
        return path

    def files(self, study: str = "*", code: str = "*") -> list[Path]:
        """The store's parquet files, oldest first."""
        return sorted((self.root / "runs").glob(f"{study}/{code}/[!.]*.parquet"), key=lambda p: p.name)

    def frames(self, study: str = "*", code: str = "*") -> "list[pl.DataFrame]":
        """Every file's rows, oldest first. A corrupt file is renamed to `.corrupt` and named in `set_aside`."""
        import polars as pl

        found = []
        for path in self.files(study, code):
            try:
                found.append(pl.read_parquet(path, memory_map=False))
            except FileNotFoundError:
                continue
            except Exception as error:
                aside = path.with_suffix(".corrupt")
                with contextlib.suppress(OSError):
                    path.replace(aside)
                reason = str(error).splitlines()[0][:120]
                self.set_aside.append(
                    f"{path}: not readable as parquet ({reason}); set aside as {aside.name}"
                )
        return found

    def load(self, study: str, code: str, runs: Iterable[str]) -> "dict[str, Measurements]":
        """The stored measurements of those of the wanted runs that are there, by run hash."""
        import polars as pl

        wanted = pl.col("run").is_in(list(set(runs)))
        files = self.files(study, code)
        if not files:
            return {}
        try:  # all at once, which is many times faster; one by one where a file is corrupt or differs
            frames = [pl.scan_parquet(files, glob=False).filter(wanted).collect()]
        except Exception:
            frames = [frame.filter(wanted) for frame in self.frames(study, code)]
        return {row["run"]: _measurements(row) for frame in frames for row in frame.iter_rows(named=True)}

    def table(self, study: str = "*") -> "pl.DataFrame":
        """All runs as one table, newest row of a run last and alone; settings and measurements are columns."""
        import polars as pl

        frames = self.frames(study)
        if not frames:
            return pl.DataFrame(schema=dict.fromkeys(("study", "run", "date", "status"), pl.String))
        # one name may be a number in one study and a word in another
        kinds: dict[str, set[Any]] = {}
        for frame in frames:
            for name, kind in frame.schema.items():
                kinds.setdefault(name, set()).add("number" if kind.is_numeric() else kind)
        mixed = [name for name, k in kinds.items() if len(k - {pl.Null}) > 1]
        frames = [f.with_columns(_as_text(f[m]) for m in mixed if m in f.columns) for f in frames]
        table = pl.concat(frames, how="diagonal_relaxed")
        return table.unique("run", keep="last", maintain_order=True)


def _as_text(series: "pl.Series") -> "pl.Series":
    import polars as pl

    if isinstance(series.dtype, pl.List | pl.Array):
        return pl.Series(
            series.name, [None if v is None else json.dumps(v) for v in series.to_list()], pl.String
        )
    return series.cast(pl.String)


def rows(
    *,
    study: str,
    code: str,
    runs: Sequence[str],
    seeds: Sequence[int],
    settings: Sequence[Mapping[str, Any]],
    outputs: "Mapping[str, np.ndarray]",
    seconds: float,
    plan: str,
) -> "pl.DataFrame":
    """The rows of one chunk: `outputs` have the runs as their first axis."""
    import datetime

    import numpy as np
    import polars as pl

    from armillary.lab.fingerprint import versions

    count = len(runs)
    finite = np.ones(count, bool)
    for value in outputs.values():
        if value.ndim == 1 and np.issubdtype(value.dtype, np.inexact):
            finite &= np.isfinite(value)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    columns: dict[str, Any] = {
        "study": [study] * count,
        "run": list(runs),
        "code": [code] * count,
        "seed": list(seeds),
        "status": np.where(finite, "ok", "diverged").tolist(),
        "seconds": [seconds / count] * count,
        "date": [now] * count,
        "plan": [plan] * count,
        "versions": [json.dumps(versions())] * count,
        "shapes": [json.dumps({k: [str(v.dtype), *v.shape[1:]] for k, v in outputs.items()})] * count,
    }
    for name in settings[0]:
        values = [s[name] for s in settings]
        columns[name] = [list(v) for v in values] if isinstance(values[0], tuple) else values
    series = [pl.Series(name, values, strict=False) for name, values in columns.items()]
    for name, value in outputs.items():
        if value.dtype == bool or value.dtype.kind in "iuf":
            wide = (
                value.astype(np.float32) if value.dtype.itemsize == 2 and value.dtype.kind == "f" else value
            )
            flat = np.ascontiguousarray(wide if value.ndim == 1 else wide.reshape(count, -1))
            column = pl.Series(name, flat)
            series.append(column.arr.to_list() if isinstance(column.dtype, pl.Array) else column)
        else:
            raise InputError(f"measurement {name!r} is of type {value.dtype}; give real numbers or booleans")
    return pl.DataFrame(series)


def _measurements(row: Mapping[str, Any]) -> "Measurements":
    import numpy as np

    shapes = json.loads(row["shapes"])
    return {name: np.asarray(row[name], dtype).reshape(shape) for name, (dtype, *shape) in shapes.items()}


_FUNCTIONS = {
    "abs",
    "ceil",
    "floor",
    "round",
    "sqrt",
    "exp",
    "ln",
    "log",
    "log2",
    "log10",
    "log1p",
    "pow",
    "power",
    "sign",
    "mod",
    "least",
    "greatest",
    "coalesce",
    "nullif",
    "if",
    "ifnull",
    "lower",
    "upper",
    "length",
    "char_length",
    "octet_length",
    "left",
    "right",
    "replace",
    "starts_with",
    "ends_with",
    "strpos",
    "reverse",
    "trim",
    "ltrim",
    "rtrim",
    "concat",
    "array_length",
    "array_mean",
    "array_sum",
    "array_min",
    "array_max",
    "array_get",
    "array_contains",
    "cast",
    "try_cast",
    "date",
    "isnan",
}
_KEYWORDS = {
    "and",
    "or",
    "not",
    "in",
    "like",
    "ilike",
    "rlike",
    "regexp",
    "between",
    "is",
    "null",
    "true",
    "false",
    "case",
    "when",
    "then",
    "else",
    "end",
    "div",
    "as",
    "varchar",
    "text",
    "string",
    "float",
    "double",
    "real",
    "int",
    "integer",
    "bigint",
    "boolean",
    "escape",
    "distinct",
}
_TOKENS = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|[A-Za-z_][A-Za-z0-9_]*|\d[\w.]*(?:e[+-]?\d+)?|\S""", re.IGNORECASE
)


def where(table: "pl.DataFrame", expression: str) -> "pl.DataFrame":
    """The rows for which a SQL expression over the columns holds.

    Only columns, literals, operators and a list of harmless functions are let through, *before* anything is
    parsed: SQL may also read files (`study IN (SELECT … FROM read_csv(…))`).

    **Raises:** `InputError` naming what is not understood.
    """
    import polars as pl

    tokens = _TOKENS.findall(expression)
    for token, following in zip(tokens, [*tokens[1:], ""]):
        if token[0] in "'" or not (token[0].isalpha() or token[0] in '_"'):
            if token in ";$`@#\\{}":
                raise InputError(f"--where: {token!r} has no place in an expression on columns")
            continue
        name, quoted = token.strip('"'), token[0] == '"'
        if following == "(" and not quoted and name.lower() not in _FUNCTIONS | _KEYWORDS:
            raise InputError(
                f"--where: function {name!r} is not allowed; {nearest(name.lower(), sorted(_FUNCTIONS))}"
            )
        if quoted or name.lower() not in _FUNCTIONS | _KEYWORDS:
            if name not in table.columns:
                raise InputError(
                    f"--where: no column {name!r}; {nearest(name, table.columns, what='columns')}"
                )
    try:
        return table.filter(pl.sql_expr(expression))
    except Exception as error:
        raise InputError(f"--where {expression!r}: {str(error).splitlines()[0]}") from None
