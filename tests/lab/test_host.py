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
    notes = []
    with pytest.raises(
        RunError, match=r"2 of 10 runs failed.*worker process \d+ ended with exit code 3 at seed 2"
    ) as caught:
        armillary.run(STUDY, seeds=5, fail=1002, notify=lambda event, **f: notes.append(f.get("words")))
    assert "and so did the one that tried it again" in str(caught.value)
    assert sum("ended with exit code 3 at seed 2" in (words or "") for words in notes) == 2  # one each arm
    assert len(Store().table()) == 8


ONCE = '''
"""A worker is killed at the third seed, the first time that it is tried."""
import os, signal
from pathlib import Path
import jax
from armillary.lab import Study

def experiment(key, *, rate=0.5):
    seed = int(jax.random.key_data(key)[-1])
    tried = Path(__file__).with_name("tried")
    if seed == 2 and not tried.exists():
        tried.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"x": rate + seed}

study = Study(experiment, host=True)
'''


def test_a_worker_that_is_killed_once_costs_nothing(tmp_path):
    path = tmp_path / "once.py"
    path.write_text(ONCE)
    notes = []

    def notify(event, **found):
        if event == "note":
            notes.append(found["words"])

    found = armillary.sweep(path, {"rate": [0.5]}, seeds=6, notify=notify)
    np.testing.assert_array_equal(found.x[:, 0], np.arange(6) + 0.5)
    (words,) = notes
    assert "was killed by SIGKILL at seed 2" in words
    assert "a new one tries again" in words
