"""Data and base models: loaded once per distinct settings, trained once, and part of a run's fingerprint."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.lab import Study, catalogue, settings
from armillary.lab.sweep import sweep


def run(study, seeds=(0, 1), **chosen):
    return sweep(catalogue.find(study), settings.arms(study, "quick", chosen), list(seeds))


def test_a_loader_is_called_once_per_distinct_settings():
    calls = []

    def load(*, size=3):
        calls.append(size)
        return np.arange(size)

    def experiment(key, data, *, size=3, rate=1.0):
        return {"total": data.sum() * rate}

    found = run(Study(experiment, data=load), size=[3, 5], rate=[1.0, 2.0]).data["default"]
    assert sorted(calls) == [3, 5]
    np.testing.assert_array_equal(found.total[0], [[3, 6], [10, 20]])


def test_other_data_are_other_runs():
    content = [1.0]

    def experiment(key, data):
        return {"x": data}

    def study():
        return Study(experiment, data=lambda: np.array(content[0]))

    assert run(study()).data["default"].x[0] == 1.0
    content[0] = 2.0
    again = run(study())
    assert again.reused == 0
    assert again.data["default"].x[0] == 2.0


def test_a_base_is_trained_once_and_kept(home):
    def base(key, *, width=2):
        return {"w": jax.random.normal(key, (width,)), "b": (jnp.arange(3), jnp.ones(()))}

    def experiment(key, base, *, width=2, scale=1.0):
        return {"w": scale * base["w"], "b": base["b"][0]}

    study = Study(experiment, base=base, base_seed=5, arms={"one": {}, "two": {"scale": 2.0}})
    found = run(study).data
    expected = jax.random.normal(jax.random.key(5), (2,))
    np.testing.assert_array_equal(found["two"].w[1], 2 * expected)
    np.testing.assert_array_equal(found["one"].b[0], [0, 1, 2])
    stored = list((home / "bases").glob("*.npz"))
    assert len(stored) == 1
    before = stored[0].stat().st_mtime_ns
    run(study, seeds=(2, 3))
    assert stored[0].stat().st_mtime_ns == before
    run(study, width=4)
    assert len(list((home / "bases").glob("*.npz"))) == 2
