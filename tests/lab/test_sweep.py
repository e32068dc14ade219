"""Runs against the experiment called directly; plans, reuse, failure, interruption."""

import os
import signal
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import armillary
from armillary.lab import InputError, RunError, Study, catalogue, settings
from armillary.lab.plan import Footprint, Plan, carried, chunk_size, footprint, subprograms
from armillary.lab.store import Store
from armillary.lab.sweep import seed_numbers, sweep


def run(study, seeds=range(4), plan=None, fresh=False, **chosen):
    return sweep(
        catalogue.find(study), settings.arms(study, "quick", chosen), list(seeds), plan=plan, fresh=fresh
    )


def walk(key, data, *, rate=0.5, size=3, start="zero"):
    x = jnp.zeros(size) if start == "zero" else jnp.ones(size)

    def step(x, noise):
        return rate * x + noise * data["scale"], jnp.sum(x**2)

    x, energy = jax.lax.scan(step, x, jax.random.normal(key, (5, size)))
    return {"final": x, "energy": energy, "last": energy[-1]}


def load(*, size=3):
    return {"scale": np.linspace(1, 2, size)}


study = Study(
    walk, data=load, arms={"a": {}, "b": {"rate": 0.9}, "ones": {"start": "one"}}, dims={"energy": ["t"]}
)


@pytest.mark.parametrize("plan", [None, Plan(1, 1), Plan(2, 3), Plan(1, 64)])
def test_every_run_is_the_experiment_called_directly(plan):
    found = run(study, rate=[0.1, 0.2, 0.3], plan=plan, size=[3, 4])
    data = found.data["ones"]
    assert data.final.dims == ("seed", "rate", "size", "final_0")
    assert data.energy.dims == ("seed", "rate", "size", "t")
    for rate in (0.1, 0.3):
        for size in (3, 4):
            key = jax.random.key(2)
            expected = walk(key, load(size=size), rate=np.float32(rate), size=size, start="one")
            one = data.sel(seed=2, rate=rate, size=size)
            np.testing.assert_allclose(one.final[:size], expected["final"], rtol=1e-6)
            np.testing.assert_allclose(one.energy, expected["energy"], rtol=1e-6)
            assert np.isnan(one.final[size:]).all()  # shorter curves are padded
    assert set(found.data["b"].last.dims) == {"seed", "size"}  # the arm fixes the rate itself


def test_arms_with_equal_settings_share_their_runs():
    twins = Study(walk, data=load, arms={"a": {}, "same": {"rate": 0.5}})
    found = run(twins)
    assert found.computed == 4
    np.testing.assert_array_equal(found.data["a"].final, found.data["same"].final)


def test_the_store_reuses_and_extends_bit_for_bit():
    plan = Plan(2, 2)
    first = run(study, range(4), plan)
    again = run(study, range(6), plan)
    assert (first.computed, again.computed, again.reused) == (12, 6, 12)
    np.testing.assert_array_equal(again.data["a"].final[:4], first.data["a"].final)
    whole = run(study, range(6), plan, fresh=True)
    assert whole.reused == 0
    for arm in ("a", "b", "ones"):
        np.testing.assert_array_equal(whole.data[arm].final, again.data[arm].final)


def test_the_device_does_not_change_a_bit():
    one, two = (run(study, range(8), Plan(devices, 2), fresh=True) for devices in (1, 2))
    np.testing.assert_array_equal(one.data["b"].final, two.data["b"].final)


def test_floats_share_a_program_and_words_do_not():
    found = run(study, rate=[0.1, 0.2, 0.3])
    assert found.plan[0] == "2 cpu, 2 group(s) of runs"


@pytest.mark.parametrize("plan", [Plan(1, 1), Plan(1, 4)])
def test_a_measurement_may_be_a_constant(plan):
    constant = lambda key: {
        "zero": jnp.array(0),
        "pair": jnp.array([1.0, 2.0]),
        "own": jax.random.normal(key),
    }
    data = run(Study(constant), plan=plan).data["default"]
    assert data.zero.values.tolist() == [0] * 4
    assert data.pair.values.tolist() == [[1, 2]] * 4


def test_x64_is_local():
    def experiment(key, *, value=0.1):
        return {"kept": jnp.asarray(value), "drawn": jax.random.normal(key)}

    found = run(Study(experiment, x64=True)).data["default"]
    assert found.kept.dtype == np.float64
    assert found.kept[0] == 0.1
    assert jnp.zeros(1).dtype == jnp.float32


def test_seeds_skip_the_pilot_s():
    some = Study(walk, data=load, pilot_seeds=(0, 2))
    assert seed_numbers(some, 3) == [1, 3, 4]
    with pytest.raises(InputError, match="expected 1 or more"):
        seed_numbers(some, 0)


@pytest.mark.parametrize("name", ["rate", "t", "versions", "seed"])
def test_a_measurement_may_not_bear_a_taken_name(name):
    def experiment(key, *, rate=1.0):
        return {name: key, "curve": jnp.zeros(2)}

    with pytest.raises(InputError, match="bears the name"):
        run(Study(experiment, dims={"curve": ("t",)}))


def test_a_failing_experiment_is_named_with_its_settings():
    def experiment(key, *, size=3):
        return {"x": jnp.zeros(size) @ jnp.zeros(4)}

    with pytest.raises(RunError, match=r"test_sweep.py, line \d+: TypeError.*size=3"):
        run(Study(experiment))


def test_wrong_dims_are_named():
    def experiment(key, *, size=3):
        return {"x": jnp.zeros(size)}

    with pytest.raises(InputError, match="1 dimensions"):
        run(Study(experiment, dims={"x": ("a", "b")}))


@pytest.mark.parametrize("width", [1, 4])
def test_a_dying_run_is_reported_and_the_rest_is_kept(monkeypatch, width):
    from armillary.lab import backend

    whole = backend.call

    def call(group, place, runs, shared):
        if 2 in runs:
            raise RuntimeError("out of memory")
        return whole(group, place, runs, shared)

    monkeypatch.setattr(backend, "call", call)
    small = Study(walk, data=load)
    with pytest.raises(RunError, match=r"1 of 4 runs failed.*out of memory"):
        run(small, plan=Plan(2, width))
    assert len(Store().table()) == 3


def test_footprint_counts_what_is_the_run_s_own():
    def one(x, data):
        return jnp.sum(jnp.outer(x, x)) + jnp.sum(data)

    closed = jax.make_jaxpr(one)(jnp.zeros(100), jnp.zeros((1000, 1000)))
    size = footprint(closed, [True, False])
    assert 40_000 <= size.working <= 120_000
    assert not size.loops

    def trained(x):
        x, _ = jax.lax.scan(lambda x, _: (x * 2, None), x, length=100)
        return jnp.outer(x, x)

    size = footprint(jax.make_jaxpr(trained)(jnp.zeros(100)), [True])
    assert size.working == 800  # the loop's, not the one large product's after it
    assert size.peak >= 40_000
    loop = jax.make_jaxpr(lambda x: jax.lax.while_loop(lambda v: v > 0.1, lambda v: v / 2, x))(1.0)
    assert footprint(loop, [True]).loops


def test_a_scan_s_carry_is_told_from_what_it_shares_and_walks():
    def walk(shared, start, end, xs):
        step = lambda c, x: ((c[0] + shared * x[0], c[1] + x[1].sum()), (c[0], x[1]))
        return jax.lax.scan(step, (start, end), xs)

    xs = (jnp.ones(3), jnp.ones((3, 3)))
    closed = jax.make_jaxpr(walk)(2.0, jnp.zeros(3), jnp.zeros(()), xs)
    [scan] = [eqn for eqn in closed.jaxpr.eqns if eqn.primitive.name == "scan"]
    [body] = [p for value in scan.params.values() for p in subprograms(value)]
    names = {
        v: name for name, v in zip(("shared", "start", "end", "x", "x"), closed.jaxpr.invars, strict=True)
    }
    first, stop = carried(scan, body)
    told = [names.get(v) for v in scan.invars]
    assert told[first:stop] == ["start", "end"]
    assert told[stop:] == ["x", "x"]


@pytest.mark.parametrize(
    ("runs", "working", "loops", "chunk"),
    [
        (64, 1 << 10, False, 32),
        (64, 80 << 10, False, 6),
        (24, 80 << 10, False, 6),
        (64, 200 << 10, False, 4),
        (64, 300 << 10, False, 1),
        (64, 1 << 30, False, 1),
        (64, 1 << 10, True, 1),
    ],
)
def test_chunks_fit_the_cache_and_are_even(runs, working, loops, chunk):
    size = Footprint(working, working, 0, loops)
    assert chunk_size(runs, 2, "cpu", size, 8 << 30, Plan()) == chunk
    assert chunk_size(runs, 2, "cpu", size, 8 << 30, Plan(chunk=5)) == 5


def test_chunks_fit_memory():
    size = Footprint(1 << 10, 100 << 20, 1 << 20, False)
    assert chunk_size(64, 2, "cpu", size, 1 << 30, Plan()) == 8  # ten at most; evened out to four rounds
    assert chunk_size(64, 1, "gpu", size, 7 << 30, Plan()) == 64
    assert chunk_size(64, 2, "cpu", size, -1, Plan()) == 1


EIGENVALUES = """
import jax, jax.numpy as jnp
from armillary.lab import Study
import armillary

def experiment(key, *, size=40, rate=0.1):
    def step(w, k):
        return w - rate * w @ w.T @ w + 0.01 * jax.random.normal(k, w.shape), jnp.sum(w**2)
    w, curve = jax.lax.scan(step, jnp.eye(size), jax.random.split(key, 50))
    return {"top": jnp.linalg.eigvalsh(w + w.T)[-1]}

data = armillary.sweep(Study(experiment), {"rate": [0.01, 0.02, 0.03, 0.04]}, seeds=16)
print("done", data.top.shape)
"""


def test_a_loop_before_batched_eigenvalues_does_not_deadlock(home):
    """One `shard_map` over both devices hangs here; one program a device does not."""
    done = subprocess.run(
        [sys.executable, "-c", EIGENVALUES], capture_output=True, text=True, timeout=120, env=os.environ
    )
    assert "done (16, 4)" in done.stdout, done.stderr


def test_every_core_is_a_device(descent, home, tmp_path):
    command = [sys.executable, "-m", "armillary.cli", "run", descent, "--explain"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert f"{len(os.sched_getaffinity(0))} cpu, 1 group(s) of runs" in done.stderr


SLOW = '''
"""A slow study."""
import jax, jax.numpy as jnp
from armillary.lab import Study, Check, at_most

def experiment(key, *, steps=3_000_000):
    x, _ = jax.lax.scan(lambda x, _: (jnp.sin(x @ x), None), jax.random.normal(key, (8, 8)), None, length=steps)
    return {"x": x.sum()}

study = Study(experiment, seeds=64)
'''


def test_an_interrupt_keeps_what_is_finished(tmp_path, home):
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    command = [sys.executable, "-m", "armillary.cli", "run", str(path), "--chunk", "1", "--seeds", "400"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    deadline = time.monotonic() + 60
    while not list((home / "runs").glob("slow/*/[!.]*.parquet")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, words = process.communicate(timeout=60)
    assert process.returncode == 130, words
    kept = len(Store().table())
    assert f"{kept} of 400 runs are kept, and the same command goes on from there" in words
    assert kept >= 1
    assert "Traceback" not in words


def test_public_sweep_and_load():
    data = armillary.sweep(study, {"rate": [0.1, 0.2]}, arm="a", seeds=2)
    assert data.last.dims == ("seed", "rate")
    both = armillary.sweep(study, {"size": [2, 3]}, seeds=2)
    assert list(both.arm.values) == ["a", "b", "ones"]
    assert both.final.dims[:3] == ("arm", "seed", "size")
    with pytest.raises(InputError, match="no arm 'c'"):
        armillary.sweep(study, {"rate": [0.1]}, arm="c")
    with pytest.raises(InputError, match="sets 'rate' itself"):
        armillary.sweep(study, {"rate": [0.1]}, arm="b")
    with pytest.raises(InputError, match="sets 'rate' itself"):
        armillary.sweep(study, {"size": [2]}, arm="b", rate=0.1)
    stored = armillary.load(study)
    assert stored.sizes["run"] == 4 + 12
    assert armillary.sweep(study, {"size": [2]}, seeds=1, rate=0.1).kept == {"rate": ["b"]}


def test_arms_may_measure_different_things():
    def experiment(key, *, part="a"):
        return {"x": jnp.zeros(2)} if part == "a" else {"y": jnp.zeros((2, 3))}

    two = {"a": {}, "b": {"part": "b"}}
    dims = {"x": ("i",), "y": ("j", "k")}
    found = run(Study(experiment, arms=two, dims=dims, coords={"k": ["u", "v", "w"]})).data
    assert found["a"].x.dims == ("seed", "i")
    assert found["b"].y.sel(k="v").dims == ("seed", "j")
    with pytest.raises(InputError, match="no measurement 'z'"):
        run(Study(experiment, arms=two, dims={"z": ("i",)}))
    one = Study(experiment, arms=two, dims=dims)
    alone = sweep(catalogue.find(one), {"a": settings.arms(one, "quick", {})["a"]}, range(2)).data
    assert alone["a"].x.dims == ("seed", "i")


def test_load_keeps_a_setting_of_several_numbers_together(descent):
    armillary.run(descent, seeds=2)
    armillary.run(descent, seeds=1, sizes=(4,))
    stored = armillary.load(descent)
    assert sorted(set(stored.coords["sizes"].values)) == [(2, 3), (4,)]
