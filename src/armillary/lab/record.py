"""The record: published verdicts, one JSON file a study, a history to which entries are only appended."""

import datetime
import json
import math
import os
from pathlib import Path
from typing import Any

from armillary.lab import fingerprint
from armillary.lab.catalogue import PAPERS, Entry, Row
from armillary.lab.errors import InputError
from armillary.lab.store import home, write_whole

Record = dict[str, Any]


def in_source_checkout() -> bool:
    """Whether the package is run from a checkout that can be written."""
    return (PAPERS.parents[2] / "pyproject.toml").is_file() and os.access(PAPERS, os.W_OK)


def path_for(entry: Entry | Row) -> Path:
    """Where a study's record is written: beside its module in a source checkout, into the store otherwise."""
    row = entry if isinstance(entry, Row) else entry.row
    if row is not None:
        return (
            row.path.with_suffix(".json") if in_source_checkout() else home() / "records" / f"{row.slug}.json"
        )
    assert isinstance(entry, Entry)
    return home() / "records" / f"{entry.slug}-{fingerprint.digest(str(entry.path))[:6]}.json"


def figure_paths(entry: Entry | Row) -> tuple[Path, Path]:
    """Where a study's figure is kept: SVG for pages and a PNG thumbnail, beside its record."""
    path = path_for(entry)
    return path.with_suffix(".svg"), path.with_suffix(".png")


def figure(entry: Entry | Row) -> tuple[Path, Path] | None:
    """The figure beside a study's record, or the one that the package ships; None without one."""
    row = entry if isinstance(entry, Row) else entry.row
    kept = [figure_paths(entry)]
    if row is not None:
        kept.append((row.path.with_suffix(".svg"), row.path.with_suffix(".png")))
    return next((pair for pair in kept if all(p.is_file() for p in pair)), None)


def history(entry: Entry | Row) -> list[Record]:
    """Every entry of a study's record, oldest first: what the package ships, then what the store holds.

    **Raises:** `InputError` if a record file cannot be read.
    """
    row = entry if isinstance(entry, Row) else entry.row
    paths = {path_for(entry)} | ({row.path.with_suffix(".json")} if row else set())
    return sorted((e for path in paths for e in _entries(path)), key=lambda e: e["date"])


def _entries(path: Path) -> list[Record]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["history"]
        if not all(isinstance(e["date"], str) for e in found):
            raise TypeError("a date is no text")
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not a record ({error}); mend or remove it") from None
    return found


def latest(entry: Entry | Row) -> Record | None:
    """The newest entry of a study's record, if it has one."""
    found = history(entry)
    return found[-1] if found else None


def stale(entry: Entry | Row, record: Record | None) -> bool | None:
    """Whether the code behind a record has changed since; None without a record."""
    if record is None or entry.path is None:
        return None
    if fingerprint.unchanged(record["files"]):
        return False
    return fingerprint.code(entry.path) != record["code"]


def append(entry: Entry, body: Record) -> Path:
    """Append an entry (verdict, checks, seeds, …) with code, versions, date and machine.

    **Raises:** `InputError` if the record file cannot be read, or not be written.
    """
    path = path_for(entry)
    past = _entries(path)
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    made: Record = {
        "date": max([now, *(p["date"] for p in past[-1:])]),  # the newest, even if the clock was set back
        **body,
        "code": fingerprint.code(entry.path) if entry.path else "",
        "files": fingerprint.raw(entry.path) if entry.path else {},
        "versions": fingerprint.versions(),
        "machine": machine(),
    }
    document = {"slug": entry.slug, "history": [*past, made]}
    write_whole(path, (json.dumps(plain(document), indent=1, ensure_ascii=False) + "\n").encode())
    return path


def plain(value: Any) -> Any:
    """A value as strict JSON has it: numbers that are not finite become null, what JSON has no kind for words."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, str | int | float) else str(value)


def machine() -> str:
    """The processor's name and the number of cores."""
    import platform

    name = platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    except OSError:
        pass
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
