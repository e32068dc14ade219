"""The record of runs on disk: parquet files, written whole and renamed; queries are polars scans.

One file holds the rows of one finished chunk, one row a run. Two writers never meet, nothing half-written is
read, and of two rows of the same run the newest wins. A file's name is its place in the order of writing, a word
of its own, and the checksum of its bytes. Small files are merged into one that takes their place; a reader that
misses a file looks again.
"""

import contextlib
import json
import os
import re
import time
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    import polars as pl

    Ask = Callable[[pl.LazyFrame], pl.LazyFrame]

SMALL = 1 << 20
"""Files below this many bytes are merged."""
MANY = 64
"""So many small files in a row are merged as soon as the last one is written."""
FEW = 4
"""More than so many are merged at the end of a sweep."""
_BATCH = 64 << 20
_LOOKS = 100
PLACE = "place in the order of writing"
PATH = "path of the file"
_KINDS = ("Null", "Boolean", "String", "Float64", "Float32", "Int64", "UInt64", "Int32")
_NAME = re.compile(r"(\d{1,30})-([0-9a-f]{8})(?:-([0-9a-f]{8}))?\.parquet")


def home() -> Path:
    """`$ARMILLARY_HOME`, else `armillary` in the XDG data directory."""
    if own := os.environ.get("ARMILLARY_HOME"):
        return Path(own).expanduser()
    return (
        Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share").expanduser() / "armillary"
    )


def write_whole(path: Path, content: bytes, *, sync: bool = False) -> None:
    """Write a file under a temporary name beside it, then rename it: a reader sees all of it or none.

    **Arguments:**

    - `sync`: have the bytes on the disk before the name, so that not even a power cut leaves half of it.

    **Raises:** `InputError` if the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, path)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink()
        reason = error.strerror if isinstance(error, OSError) else None
        raise InputError(f"cannot write {path}: {reason or error}") from None


@dataclass(frozen=True)
class Block:
    """Stored runs whose measurements are of the same shapes."""

    table: "pl.DataFrame"
    """One row a run: its hash, seed, settings, status, date, …"""
    arrays: "dict[str, np.ndarray]"
    """Each measurement, runs first, in the table's order."""


@dataclass
class Store:
    """The runs under a folder, `$ARMILLARY_HOME` by default."""

    root: Path = field(default_factory=home)
    set_aside: list[str] = field(default_factory=list)
    """One line for each file that could not be read."""

    def check(self) -> None:
        """Raise `InputError` now if the store cannot be written, not after the first minute of work."""
        probe = self.root / "runs" / ".writable"
        write_whole(probe, bytes(1 << 16))
        probe.unlink(missing_ok=True)

    def append(self, study: str, code: str, frame: "pl.DataFrame") -> Path:
        """Write the rows of one finished chunk."""
        folder = self._folder(study, code)
        there = _names(folder)
        # newer than every file there, even if the clock was set back
        path = _write(folder, max([time.time_ns(), *(_number(name) + 1 for name in there)]), frame)
        if len(there) + 1 >= MANY:
            with contextlib.suppress(Exception):  # the rows are kept, and merging can wait
                self._merge(folder, MANY)
        return path

    def settle(self, study: str, code: str) -> None:
        """Merge a finished sweep's small files, and remove what a killed process left half-written."""
        folder = self._folder(study, code)
        with contextlib.suppress(Exception):
            self._merge(folder, FEW + 1)
            for entry in os.scandir(folder):
                if entry.name.startswith(".") and ".parquet." in entry.name:
                    if abs(time.time() - entry.stat().st_mtime) > 86_400:
                        os.unlink(entry)

    def files(self, study: str | None = None, code: str | None = None) -> list[Path]:
        """The store's parquet files, oldest first."""
        studies = [study] if study is not None else _subfolders(self.root / "runs")
        found: list[Path] = []
        for one in studies:
            codes = [code] if code is not None else _subfolders(self.root / "runs" / one)
            for each in codes:
                folder = self._folder(one, each)
                found += [folder / name for name in _names(folder)]
        return sorted(found, key=lambda path: _order(path.name))

    def read(
        self, study: str | None = None, code: str | None = None, ask: "Ask | None" = None
    ) -> "list[pl.DataFrame]":
        """What a question to every file gives: one frame for all files with the same columns, older rows first.

        The columns `PATH` and `PLACE` are a row's file and that file's place in the order of writing. A file that
        is no parquet, or not the one that was written, is renamed to `.corrupt` and named in `set_aside`. A file
        may be merged into another between listing and reading: then the reader looks again.
        """
        done: set[Path] = set()
        frames: list[pl.DataFrame] = []
        for _ in range(_LOOKS):
            files = self.files(study, code)
            frames += self._collect([path for path in files if path not in done], ask, done)
            if done.issuperset(files):  # else some were merged into others meanwhile
                break
        places = {str(path): place for place, path in enumerate(files)}
        placed = [_placed(frame, places) for frame in frames]
        return [frame for frame in placed if len(frame)]

    def blocks(self, study: str, code: str, runs: Iterable[str] | None = None) -> list[Block]:
        """The newest row of every stored run, or of those of the wanted runs that are there, as arrays."""
        import polars as pl

        ask = None
        if runs is not None:
            wanted = pl.Series("run", sorted(set(runs)), pl.String)
            ask = lambda scan: scan.filter(pl.col("run").is_in(wanted.implode()))
        alike: dict[Any, list[pl.DataFrame]] = {}
        for frame in _newest(self.read(study, code, ask)):
            for (shapes,), part in frame.partition_by("shapes", as_dict=True, maintain_order=True).items():
                alike.setdefault((shapes, *part.schema.items()), []).append(part)
        found = []
        for (shapes, *_), parts in alike.items():
            try:
                found.append(_block(pl.concat(parts, rechunk=True), shapes))
            except (ValueError, TypeError, KeyError, AttributeError, pl.exceptions.PolarsError) as error:
                self._note(f"{self._folder(study, code)}: rows that are no runs were left out ({error})")
        return found

    def table(self, study: str | None = None) -> "pl.DataFrame":
        """All runs as one table, newest row of a run last and alone; settings and measurements are columns."""
        return _one_table(self.read(study)).drop(PATH, PLACE, strict=False)

    def query(self, expression: str | None = None, limit: int | None = None) -> "tuple[pl.DataFrame, int]":
        """The runs for which a SQL expression over the columns holds.

        **Arguments:**

        - `expression`: as in [`where`][armillary.lab.where.where]; all runs without one.
        - `limit`: only so many, the newest.

        **Returns:** the runs as in `table`, and how many there are without the limit.

        **Raises:** `InputError` naming what is not understood.
        """
        import polars as pl

        from armillary.lab import where

        asked = {"run", *(where.names(expression) if expression else ())}
        columns: dict[str, None] = {}

        def narrow(scan: pl.LazyFrame) -> pl.LazyFrame:
            there = scan.collect_schema().names()
            columns.update(dict.fromkeys(there))
            return scan.select([name for name in there if name in asked or name == PATH])

        frames = self.read(ask=narrow)
        table = _one_table(frames)
        if expression:
            known = [name for name in columns if name != PATH] or table.columns
            table = where.where(table, expression, columns=known)
        newest = table if limit is None else table.tail(limit)
        if not len(newest):
            return _one_table([]), 0
        wanted = newest["run"].implode()
        ask = lambda scan: scan.filter(pl.col("run").is_in(wanted))
        holding = set(newest[PATH].rle().struct.field("value"))
        try:
            rows = []
            for frame in frames:
                places = {path: place for path, place in _places(frame).items() if path in holding}
                if places:
                    rows.append(_placed(_scan([Path(p) for p in places], ask), places))
        except Exception:  # merged meanwhile
            rows = self.read(ask=ask)
        return _one_table(rows).drop(PATH, PLACE), len(table)

    def _folder(self, study: str, code: str) -> Path:
        for name in (study, code):
            if name in ("", ".", "..") or "/" in name or "\0" in name:
                raise InputError(f"{name!r} cannot be the name of a folder of the store")
        return self.root / "runs" / study / code

    def _collect(self, paths: Sequence[Path], ask: "Ask | None", done: set[Path]) -> "list[pl.DataFrame]":
        """The files' answers, of files with the same columns at once; `done` are those read or set aside."""
        import io

        import polars as pl

        frames = []
        for batch in self._batches(paths, done):
            alike: dict[Any, list[Path]] = {}
            for path, content in batch.items():
                try:
                    schema = pl.read_parquet_schema(io.BytesIO(content))
                    if missing := [n for n in ("study", "run", "shapes") if schema.get(n) != pl.String]:
                        raise ValueError(f"no column {missing[0]!r} of text")
                    alike.setdefault(tuple(schema.items()), []).append(path)
                except (Exception, pl.exceptions.PanicException) as error:
                    self._put_aside(path, f"not readable as runs ({_first_line(error)})")
                    done.add(path)
            for members in alike.values():
                try:
                    frames.append(_scan(members, ask))
                    done.update(members)
                except (Exception, pl.exceptions.PanicException):
                    frames += self._one_by_one(members, ask, done)
        return frames

    def _one_by_one(self, paths: list[Path], ask: "Ask | None", done: set[Path]) -> "list[pl.DataFrame]":
        import polars as pl

        frames = []
        for path in paths:
            try:
                frames.append(_scan([path], ask))
            except (Exception, pl.exceptions.PanicException) as error:
                if not path.exists():  # merged meanwhile
                    continue
                self._put_aside(path, f"not readable as runs ({_first_line(error)})")
            done.add(path)
        return frames

    def _batches(self, paths: Sequence[Path], done: set[Path]) -> Iterator[dict[Path, bytes]]:
        """The files' bytes, a bounded number at a time, without those that are not what was written."""
        batch: dict[Path, bytes] = {}
        size = 0
        for path in paths:
            content = _content(path)
            if isinstance(content, FileNotFoundError):
                continue
            if isinstance(content, OSError):
                self._note(f"{path}: cannot be read ({content.strerror or content})")
                done.add(path)
                continue
            if content is None:
                self._put_aside(path, "not the bytes that were written")
                done.add(path)
                continue
            batch[path] = content
            size += len(content)
            if size >= _BATCH:
                yield batch
                batch, size = {}, 0
        if batch:
            yield batch

    def _put_aside(self, path: Path, reason: str) -> None:
        aside = path.with_suffix(".corrupt")
        try:
            path.replace(aside)
            self._note(f"{path}: {reason}; set aside as {aside.name}")
        except OSError as error:
            self._note(f"{path}: {reason}; left out, it cannot be renamed ({error.strerror or error})")

    def _note(self, line: str) -> None:
        if line not in self.set_aside:
            self.set_aside.append(line)

    def _merge(self, folder: Path, least: int) -> None:
        """Make one file of every `least` or more small files that follow one another, and remove them.

        The merged file is on the disk before the first of them goes, and they go from the oldest on: whenever
        this is killed, what is left has every run, and the newest row of a run is still the newest.
        """
        with _lock(folder) as mine:
            if not mine:
                return  # somebody else is at it
            for segment in _small([folder / name for name in _names(folder)]):
                if len(segment) < least:
                    continue
                for frame in self._collect(segment, None, set()):
                    members = [Path(path) for path in frame[PATH].unique(maintain_order=True)]
                    if len(members) > 1:
                        merged = frame.drop(PATH).unique("run", keep="last", maintain_order=True)
                        _write(folder, _number(members[-1].name), merged, sync=True)
                        for path in members:
                            path.unlink(missing_ok=True)


def _content(path: Path) -> bytes | OSError | None:
    """A file's bytes; None if they are not those that were written."""
    try:
        content = path.read_bytes()
    except OSError as error:
        return error
    found = _NAME.fullmatch(path.name)
    return None if found and found[3] and int(found[3], 16) != zlib.crc32(content) else content


def _names(folder: Path) -> list[str]:
    """The names of a folder's parquet files, oldest first."""
    try:
        return sorted((name for name in os.listdir(folder) if _NAME.fullmatch(name)), key=_order)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _subfolders(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir())
    except FileNotFoundError:
        return []


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _order(name: str) -> tuple[int, str]:
    return _number(name), name


def _small(files: Sequence[Path]) -> list[list[Path]]:
    """The small files that follow one another: merging across a large one would change what is newest."""
    segments: list[list[Path]] = [[]]
    for path in files:
        try:
            small = path.stat().st_size < SMALL
        except FileNotFoundError:
            continue
        if small:
            segments[-1].append(path)
        else:
            segments.append([])
    return segments


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether nobody else merges this folder: a lock that its holder's death releases.

    It spares work and is not needed for safety, so that a file system without locks will do.
    """
    import fcntl

    with (folder / ".lock").open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        except OSError:
            pass
        yield True


def _write(folder: Path, number: int, frame: "pl.DataFrame", *, sync: bool = False) -> Path:
    import io

    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="lz4", statistics=False)
    content = buffer.getvalue()
    path = folder / f"{number}-{uuid.uuid4().hex[:8]}-{zlib.crc32(content):08x}.parquet"
    write_whole(path, content, sync=sync)
    return path


def _scan(paths: list[Path], ask: "Ask | None") -> "pl.DataFrame":
    import polars as pl

    scan = pl.scan_parquet(paths, glob=False, hive_partitioning=False, include_file_paths=PATH)
    return (scan if ask is None else ask(scan)).collect()


def _placed(frame: "pl.DataFrame", places: dict[str, int]) -> "pl.DataFrame":
    """The rows of files that are still there, with their file's place; a file's rows follow one another."""
    import numpy as np
    import polars as pl

    parts = frame[PATH].rle().struct.unnest()
    place = np.repeat([places.get(path, -1) for path in parts["value"]], parts["len"])
    found = frame.with_columns(pl.Series(PLACE, place, pl.Int64))
    return found if (place >= 0).all() else found.filter(place >= 0)


def _places(frame: "pl.DataFrame") -> dict[str, int]:
    """The files of a frame's rows and their places."""
    parts = frame[PATH].rle().struct.unnest()
    return dict(zip(parts["value"], frame[PLACE].gather(parts["len"].cum_sum() - parts["len"])))


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def _newest(frames: "list[pl.DataFrame]") -> "list[pl.DataFrame]":
    """Without the rows of runs that have a newer row."""
    import polars as pl

    if not frames:
        return []
    at = [
        frame.select("run", PLACE, frame=pl.lit(i, pl.UInt32), row=pl.int_range(pl.len(), dtype=pl.UInt32))
        for i, frame in enumerate(frames)
    ]
    runs = pl.concat(at)
    if runs["run"].n_unique() == len(runs):
        return frames
    runs = runs.sort(PLACE, maintain_order=True).unique("run", keep="last", maintain_order=True)
    kept = runs.sort("row").partition_by("frame", as_dict=True)
    return [frame[kept[i,]["row"]] for i, frame in enumerate(frames) if (i,) in kept]


def _one_table(frames: "list[pl.DataFrame]") -> "pl.DataFrame":
    """Rows with different columns as one table, of each run the newest, older files' rows first."""
    import polars as pl

    if not frames:
        words = dict.fromkeys(("study", "run", "code", "status", "date", "plan", "versions"), pl.String)
        return pl.DataFrame(schema={**words, "seed": pl.Int64, "seconds": pl.Float64})
    # one name may be a number in one study and a word in another
    kinds: dict[str, set[Any]] = {}
    for frame in frames:
        for name, kind in frame.schema.items():
            kinds.setdefault(name, set()).add("number" if kind.is_numeric() else kind)
    mixed = [name for name, k in kinds.items() if len(k - {pl.Null}) > 1]
    if mixed:
        frames = [f.with_columns(_as_text(f[m]) for m in mixed if m in f.columns) for f in frames]
    table = pl.concat(frames, how="diagonal_relaxed") if len(frames) > 1 else frames[0]
    if len(frames) > 1:
        table = table.sort(PLACE, maintain_order=True)
    if table["run"].n_unique() == len(table):
        return table
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
    series = [pl.Series(name, values, strict=False) for name, values in columns.items()]
    series += [_setting(name, [s[name] for s in settings]) for name in settings[0]]
    series += [_measurement(name, value) for name, value in outputs.items()]
    return pl.DataFrame(series)


def _setting(name: str, values: list[Any]) -> "pl.Series":
    """A setting's column; what parquet has no kind for is kept in words."""
    import polars as pl

    with contextlib.suppress(Exception):
        series = pl.Series(name, [list(v) if isinstance(v, tuple) else v for v in values], strict=False)
        kind = series.dtype.inner if isinstance(series.dtype, pl.List) else series.dtype
        if str(kind) in _KINDS:
            return series
    return pl.Series(name, [json.dumps(v, default=repr) for v in values], pl.String)


def _measurement(name: str, value: "np.ndarray") -> "pl.Series":
    import numpy as np
    import polars as pl

    if value.dtype.kind not in "biuf" or value.dtype.itemsize > 8:
        raise InputError(f"measurement {name!r} is of type {value.dtype}; give real numbers or booleans")
    wide = (
        np.float32 if value.dtype.kind == "f" and value.dtype.itemsize == 2 else value.dtype.newbyteorder("=")
    )
    count, *own = value.shape
    flat = pl.Series(name, np.ascontiguousarray(value, wide).ravel())
    if not own:
        return flat
    width = int(np.prod(own))
    if not width:
        return pl.Series(name, [[] for _ in range(count)], pl.List(flat.dtype))
    return flat.reshape((count, width)).arr.to_list()


def _block(frame: "pl.DataFrame", shapes: str) -> Block:
    import numpy as np
    import polars as pl

    arrays = {}
    for name, (dtype, *shape) in json.loads(shapes).items():
        column = frame[name]
        flat = column.explode() if isinstance(column.dtype, pl.List) else column
        if np.dtype(dtype).kind not in "biuf":
            raise TypeError(f"measurement {name!r} of type {dtype}")
        size = len(frame) * int(np.prod(shape))
        values = flat.to_numpy() if size else np.empty(0, dtype)
        arrays[name] = values.reshape(len(frame), *shape).astype(dtype, copy=False)
    return Block(frame.drop(*arrays, PATH, PLACE), arrays)
