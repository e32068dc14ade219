from pathlib import Path

import jax
import numpy as np
import pytest

import armillary
from armillary.lab import RunError
from armillary.lab.store import Store

STUDY = str(Path(__file__).parents[1] / "studies" / "on_host.py")


def test_a_host_study_runs_in_worker_processes():
    result = armillary.run(STUDY, seeds=5)
    assert result.verdict == "holds"
    plain = result.data["plain"]
    expected = np.asarray(jax.random.normal(jax.random.key(0), (3,))).sum() + 3 * 3.5
    np.testing.assert_allclose(plain.base_sum, expected, rtol=1e-6)
    np.testing.assert_array_equal(plain.echo, np.arange(5)[:, None] + np.arange(3))
    assert 1 <= len(set(plain.process.values)) <= 2
    assert armillary.run(STUDY, seeds=5).swept.reused == 10


def test_a_failing_run_is_named_and_the_others_are_kept():
    with pytest.raises(RunError, match=r"2 of 10 runs failed.*on_host.py, line \d+: ValueError: as asked"):
        armillary.run(STUDY, seeds=5, fail=3)
    assert len(Store().table()) == 8


def test_a_worker_that_dies_takes_one_run_with_it():
    with pytest.raises(
        RunError, match=r"2 of 10 runs failed.*worker process \d+ ended with exit code 3 at seed 2"
    ):
        armillary.run(STUDY, seeds=5, fail=1002)
    assert len(Store().table()) == 8
