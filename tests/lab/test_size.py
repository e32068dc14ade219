"""A store of 100,000 runs, and curves by the thousand: still at once."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import armillary
from armillary.lab import Study, catalogue
from armillary.lab.store import Store, rows
from armillary.lab.sweep import code_of


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


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """100,000 runs: of 200 other studies, and of other settings of one study that is there as well."""
    home = tmp_path_factory.mktemp("full")
    store = Store(home)
    for study in range(200):
        for chunk in range(6):
            fill(store, f"study-{study}", "c" * 20, (study * 6 + chunk) * 75, 75)
        store.settle(f"study-{study}", "c" * 20)
    entry = catalogue.find(Path(__file__).parents[1] / "studies" / "descent.py")
    for chunk in range(20):
        fill(store, entry.slug, code_of(entry), 90_000 + chunk * 500, 500)
    store.settle(entry.slug, code_of(entry))
    return home


def best(command: list[str], home: Path, below: float, tries: int = 6) -> tuple[float, str]:
    """The least of a few whole processes' times; no more of them once it is below what was asked."""
    times, said = [], ""
    while len(times) < tries and min(times, default=below + 1) > below:
        start = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", "armillary.cli", *command],
            env={**os.environ, "ARMILLARY_HOME": str(home)},
            cwd=home,
            capture_output=True,
            text=True,
            check=True,
        )
        times.append(time.perf_counter() - start)
        said = done.stdout
    return min(times), said


def test_a_query_over_100_000_runs(full):
    seconds, said = best(["runs", "--where", "m1 > 0.5 AND width = 3 AND study LIKE 'study-1%'"], full, 1.0)
    assert " of 3" in said
    assert len(Store(full).table()) == 100_000
    assert seconds < 1.0


def test_a_cached_study_starts_as_fast_as_in_an_empty_store(full, tmp_path, descent):
    for home in (full, tmp_path):
        best(["run", descent], home, 0.0, tries=1)
    alone, _ = best(["run", descent], tmp_path, 0.0, tries=2)
    among, said = best(["run", descent], full, 2 * alone, tries=4)
    assert "16 of 16 runs from the store" in said
    assert among < 2 * alone


def test_10_000_curves_of_1_000_points_load_within_a_second():
    def experiment(key, *, rate=0.1, width=3, word="some"):
        return {}

    study = Study(experiment, dims={"curve": ("step",)})
    entry = catalogue.find(study)
    for chunk in range(100):
        fill(Store(), entry.slug, code_of(entry), chunk * 100, 100, curve=1000)
    times = []
    while len(times) < 6 and min(times, default=9.0) > 1.0:
        start = time.perf_counter()
        found = armillary.load(study)
        times.append(time.perf_counter() - start)
    assert found.curve.shape == (10_000, 1000)
    rng = np.random.default_rng(4200)
    for _ in range(8):
        rng.random(100, np.float32)
    expected = rng.random((100, 1000), np.float32)
    np.testing.assert_array_equal(found.sel(run=f"{4207:020x}").curve, expected[7])
    assert min(times) < 1.0
