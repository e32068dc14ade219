"""What a sweep takes: kept under a cap, told beforehand, and the same numbers on however many devices."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import armillary
from armillary.lab import RunError, Study
from armillary.lab import plan as plan_
from armillary.lab.errors import TooLarge
from armillary.lab.plan import Plan, at_least, footprint, parse_bytes, resident

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

TRANSFORMER = """
import json, sys
import numpy as np
import jax
jax.config.update("jax_num_cpu_devices", 2)
import memory
from armillary.lab import InputError
from armillary.lab.plan import resident
seeds, rates, beside, sizes = json.loads(sys.argv[1])
jax.device_put(np.zeros(1)).block_until_ready()
cap = resident() + beside
try:
    found = memory.swept(seeds, np.geomspace(1e-4, 1e-1, rates), cap, sizes)
except InputError as error:
    found = {"error": str(error)}
print(json.dumps({"cap": cap, **found}))
"""
"""Under a cap that leaves so many bytes beside what a process with JAX has anyway."""


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


def holds_its_cap(found: dict) -> bool:
    took, told = found["peak"] - found["before"], found["estimate"] - found["before"]
    return found["finite"] and found["peak"] <= found["cap"] and 0.5 < told / took < 2


def test_64_by_64_runs_of_a_transformer_stay_under_a_cap():
    """All of them at once would need several times as much (`benchmarks/memory.py` says how much)."""
    found = apart(TRANSFORMER, json.dumps([64, 64, 600_000_000, {"steps": 1, "width": 16, "batch": 8}]))
    assert holds_its_cap(found), found


def test_what_one_run_needs_is_told_and_is_enough():
    """What fails under a cap that is too small goes on under the one that the error names, one run at a time."""
    sizes = {"steps": 1, "batch": 2048, "context": 64}
    words = apart(TRANSFORMER, json.dumps([2, 2, 200_000_000, sizes]))["error"]
    told = re.fullmatch(
        r"--memory \d+ MB: one run takes about (.+) \(settings: .*batch=2048.*\),"
        r" and armillary itself (.+); expected (.+) or more",
        words,
    )
    assert told is not None, words
    one, before, enough = map(parse_bytes, told.groups())
    assert before + one < enough < before + 1.5 * one  # room for one, and not for two
    found = apart(TRANSFORMER, json.dumps([2, 2, enough - before, sizes]))
    assert "in chunks of 1" in found["plan"][-1]
    assert holds_its_cap(found), found


def sorted_sum(key, *, size=200_000_000, rate=1.0):
    return {"x": jnp.sort(rate * jax.random.normal(key, (size,)))[:: size // 10].sum()}


def test_a_run_that_does_not_fit_is_refused_before_it_runs():
    plan = Plan(memory=resident() + 700_000_000)
    words = r"--memory .*B: one run takes about \d.*GB .* armillary itself .*; expected .*GB or more"
    with pytest.raises(TooLarge, match=words):
        armillary.run(Study(sorted_sum), seeds=1, plan=plan)
    with pytest.raises(RunError, match=r"1 of 2 runs failed, the others are kept; first: --memory"):
        armillary.sweep(Study(sorted_sum), {"size": [10, 200_000_000]}, seeds=1, plan=plan)
    with pytest.raises(TooLarge, match=r"this machine has .*; choose smaller settings"):
        armillary.run(Study(sorted_sum), seeds=1, size=1 << 38)


BELOW = """
import json
import jax.numpy as jnp
import armillary
from armillary.lab import InputError, Study
from armillary.lab.plan import Plan

def experiment(key, *, rate=1.0):
    return {"x": jnp.asarray(rate)}

try:
    armillary.run(Study(experiment), seeds=1, plan=Plan(memory=1_000_000))
except InputError as error:
    print(json.dumps({"error": str(error)}))
"""


def test_a_cap_below_what_armillary_itself_takes():
    words = apart(BELOW)["error"]
    assert re.search(r"armillary itself takes .* already; expected .*MB or more", words), words


@pytest.mark.parametrize("size", [1, 999, 1000, 123_456, 999_999, 94_900_000, 1_046_000_000, 10**12, 10**15])
def test_an_amount_that_is_enough_is_typed_shortly(size):
    typed = at_least(size)
    assert 1.05 * size <= parse_bytes(typed) <= max(1000, 1.2 * size)
    assert len(typed) <= 8


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "max", "a/memory.max": "5000\n"}, [5000]),
        ("4:cpu,memory:/x\n1:cpu:/y", {"memory/memory.limit_in_bytes": "70", "memory/x/memory.limit_in_bytes": "60"}, [60, 70]),
        ("0::/../gone", {"memory.max": "9"}, [9]),
        ("nonsense", {}, []),
    ],
)  # fmt: skip
def test_a_container_s_limit_counts(tmp_path, own, files, limits):
    for name, text in {"own": own, **files}.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert plan_._container(tmp_path, tmp_path / "own") == limits


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
