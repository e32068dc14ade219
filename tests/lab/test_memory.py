"""What a sweep takes: kept under a cap, told beforehand, and the same numbers on however many devices."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import armillary
from armillary.lab import InputError, RunError, Study
from armillary.lab.plan import Plan, footprint, resident

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

TRANSFORMER = """
import json, sys
import numpy as np
import jax
jax.config.update("jax_num_cpu_devices", 2)
import memory
seeds, rates, cap, sizes = json.loads(sys.argv[1])
rates = np.geomspace(1e-4, 1e-1, rates)
print(json.dumps(memory.swept(seeds, rates, cap, sizes)))
"""


def apart(code: str, *arguments: str, **environment: str) -> dict:
    """What a fresh process prints last."""
    path = os.pathsep.join([str(BENCHMARKS), *sys.path])
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=os.environ | {"PYTHONPATH": path} | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_64_by_64_runs_of_a_transformer_stay_under_a_cap():
    """All of them at once would need several times as much (`benchmarks/memory.py` says how much)."""
    cap = 900_000_000
    found = apart(TRANSFORMER, json.dumps([64, 64, cap, {"steps": 1, "width": 16, "batch": 8}]))
    assert found["finite"]
    assert found["peak"] <= cap
    assert 0.5 < (found["estimate"] - found["before"]) / (found["peak"] - found["before"]) < 2


def test_runs_of_which_two_do_not_fit_go_one_at_a_time():
    """A run of this size takes 400 MB, and the process 350 MB besides."""
    cap = 900_000_000
    sizes = {"steps": 1, "batch": 2048, "context": 64}
    found = apart(TRANSFORMER, json.dumps([2, 2, cap, sizes]))
    assert found["finite"]
    assert found["peak"] <= cap
    assert 0.5 < (found["estimate"] - found["before"]) / (found["peak"] - found["before"]) < 2
    assert "in chunks of 1" in found["plan"][-1]


def sorted_sum(key, *, size=200_000_000, rate=1.0):
    return {"x": jnp.sort(rate * jax.random.normal(key, (size,)))[:: size // 10].sum()}


def test_a_run_that_does_not_fit_is_refused_before_it_runs():
    with pytest.raises(
        RunError, match=r"1 of 1 runs failed.*one run takes about \d+(\.\d+)? GB.*of --memory"
    ):
        armillary.run(Study(sorted_sum), seeds=1, plan=Plan(memory=resident() + 700_000_000))


def test_a_cap_below_what_armillary_itself_takes():
    with pytest.raises(InputError, match="armillary itself takes"):
        armillary.run(Study(sorted_sum), seeds=1, plan=Plan(memory=1_000_000))


def test_footprint_says_what_is_held_at_once():
    def chain(x):  # each value is dead once the next is there
        for _ in range(10):
            x = jnp.sin(x)
        return x.sum()

    def held(x):  # all are needed at the end
        values = [jnp.sin(x)]
        for _ in range(9):
            values.append(jnp.sin(values[-1]))
        return sum(v @ v for v in values)

    def looped(x):
        return jax.lax.scan(lambda x, _: (held(x) * x, None), x, length=5)[0].sum()

    array = jnp.zeros(1000)
    of = lambda f: footprint(jax.make_jaxpr(f)(array), [True]).peak
    assert 8_000 <= of(chain) <= 9_000
    assert 40_000 <= of(held) <= 48_000
    assert of(held) <= of(looped) <= of(held) + 12_000


DEVICES = """
import json
import jax, jax.numpy as jnp
import armillary
from armillary.lab import Study, catalogue, settings
from armillary.lab.plan import Plan
from armillary.lab.sweep import sweep

def experiment(key, *, rate=0.1, size=24):
    def step(w, k):
        return w - rate * w @ w.T @ w + 0.01 * jax.random.normal(k, w.shape), jnp.sum(w**2)
    w, curve = jax.lax.scan(step, jnp.eye(size), jax.random.split(key, 200))
    return {"last": w, "curve": curve}

study = Study(experiment)
entry, arms = catalogue.find(study), settings.arms(study, "quick", {"rate": [0.01, 0.02, 0.03, 0.04]})
found = {}
for devices in (4, 1):
    swept = sweep(entry, arms, range(16), plan=Plan(devices, 2), fresh=True)
    found[devices] = [swept.data["default"].curve.values.tolist(), swept.plan]
print(json.dumps([found[4], found[1], len(jax.devices())]))
"""


def test_four_devices_give_the_numbers_of_one():
    four, one, count = apart(DEVICES, XLA_FLAGS="--xla_force_host_platform_device_count=4")
    assert count == 4
    assert "4 program(s)" in four[1][-1]
    assert "1 program(s)" in one[1][-1]
    np.testing.assert_allclose(four[0], one[0], rtol=1e-5)
