"""A large store: 100,000 runs queried and among them a cached study; 10,000 curves of 1,000 points loaded.

Prints one line of JSON. `query_seconds` is `armillary runs --where` over 100,000 runs as a whole process (below 1 is
good), `cached_over_empty` is `armillary run` of a study that the store has whole, among 100,000 runs over the same in
a store of its own (at most 2 is good), and `load_seconds` is `armillary.load` of the curves (below 1 is good). `ratio`
is that load over the same by polars and NumPy alone, without checksums. All are the least of a few tries.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from armillary.lab import Study, catalogue
from armillary.lab.store import Store, rows
from armillary.lab.sweep import code_of

DESCENT = Path(__file__).parents[1] / "tests" / "studies" / "descent.py"
WHERE = "m1 > 0.5 AND width = 3 AND study LIKE 'study-1%'"


def fill(store: Store, study: str, code: str, first: int, count: int, curve: int = 20) -> None:
    """One finished chunk: eight scalars, a curve and three settings a run."""
    rng = np.random.default_rng(first)
    outputs = {f"m{i}": rng.random(count, np.float32) for i in range(8)}
    frame = rows(
        study=study,
        code=code,
        runs=[f"{i:020x}" for i in range(first, first + count)],
        seeds=range(count),
        settings=[{"rate": i / count, "width": first % 7, "word": "some"} for i in range(count)],
        outputs={**outputs, "curve": rng.random((count, curve), np.float32)},
        seconds=1.0,
        plan="2 cpu chunk 16",
    )
    store.append(study, code, frame)


def fill_whole(home: Path) -> None:
    """100,000 runs: of 200 studies, and of other settings of a study that is run beside them."""
    store = Store(home)
    for study in range(200):
        for chunk in range(6):
            fill(store, f"study-{study}", "c" * 20, (study * 6 + chunk) * 75, 75)
        store.settle(f"study-{study}", "c" * 20)
    entry = catalogue.find(DESCENT)
    for chunk in range(20):
        fill(store, entry.slug, code_of(entry), 90_000 + chunk * 500, 500)
    store.settle(entry.slug, code_of(entry))


def command(home: Path, *arguments: str) -> tuple[float, float, str]:
    """A command line with that store, as a process: seconds on the wall's clock and on its processors', and its words."""
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "armillary.cli", *arguments],
        env={**os.environ, "ARMILLARY_HOME": str(home)},
        cwd=home,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    said = process.stdout.read()
    _, code, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(code)
    assert process.returncode == 0, said
    return time.perf_counter() - start, used.ru_utime + used.ru_stime, said


def curves(home: Path) -> Study:
    """A study of which the store has 10,000 curves of 1,000 points."""

    def experiment(key, *, rate=0.1, width=3, word="some"):
        return {}

    study = Study(experiment, dims={"curve": ("step",)})
    entry = catalogue.find(study)
    for chunk in range(100):
        fill(Store(home), entry.slug, code_of(entry), chunk * 100, 100, curve=1000)
    return study


def plainly(home: Path) -> np.ndarray:
    """The curves by polars and NumPy, with every column read, as `load` does."""
    frames = [pl.read_parquet(path) for path in Store(home).files()]
    return np.concatenate([frame["curve"].explode().to_numpy().reshape(len(frame), -1) for frame in frames])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer tries, under 60 s")
    tries = 3 if parser.parse_args().quick else 10
    import armillary

    with tempfile.TemporaryDirectory() as folder:
        full, empty, many = (Path(folder) / name for name in ("full", "empty", "many"))
        for home in (full, empty, many):
            home.mkdir()
        fill_whole(full)
        study = curves(many)
        for home in (full, empty):
            command(home, "run", str(DESCENT))
        asked, among, alone, loaded, plain = [], [], [], [], []
        for _ in range(tries):
            asked.append(command(full, "runs", "--where", WHERE)[0])
            among.append(command(full, "run", str(DESCENT))[0])
            alone.append(command(empty, "run", str(DESCENT))[0])
            start = time.perf_counter()
            armillary.load(study, store=Store(many))
            between = time.perf_counter()
            plainly(many)
            loaded.append(between - start)
            plain.append(time.perf_counter() - between)
        files = len(Store(full).files())
    print(
        json.dumps(
            {
                "benchmark": "size",
                "ratio": round(min(loaded) / min(plain), 2),
                "query_seconds": round(min(asked), 3),
                "cached_over_empty": round(min(among) / min(alone), 2),
                "cached_seconds": round(min(among), 2),
                "load_seconds": round(min(loaded), 3),
                "runs": 100_000,
                "files": files,
                "curves": 10_000,
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
