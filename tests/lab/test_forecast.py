"""How long a sweep will take, against counts by XLA and by hand."""

import time
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest

import armillary
from armillary.lab import Study, forecast
from armillary.lab.backend import Done
from armillary.lab.forecast import Forecast, operations


def count(f, *given):
    return operations(jax.make_jaxpr(f)(*given).jaxpr)


def test_operations_are_those_that_xla_counts():
    def network(w, x):
        return jnp.sum(jnp.tanh(jnp.tanh(x @ w) @ w.T) ** 2)

    w, x = jnp.ones((64, 96)), jnp.ones((32, 64))
    image, kernel = jnp.ones((2, 3, 16, 16)), jnp.ones((5, 3, 3, 3))
    convolve = lambda a, b: jax.lax.conv(a, b, (1, 1), "VALID")
    for f, given in ((jax.grad(network), (w, x)), (convolve, (image, kernel))):
        wanted = jax.jit(f).lower(*given).cost_analysis()["flops"]
        assert count(f, *given) == pytest.approx(wanted, rel=0.1)


def test_loops_and_branches():
    x = jnp.ones((20, 20))
    once = count(lambda x: x @ x, x)
    assert once == 2 * 20**3
    loop = lambda x: jax.lax.scan(
        lambda c, _: (jax.lax.scan(lambda c, _: (c @ x, None), c, length=3)[0], None), x, length=5
    )[0]
    assert count(loop, x) == 15 * once
    either = lambda x: jax.lax.cond(x[0, 0] > 0, lambda: x @ x @ x, lambda: x @ x)
    assert count(either, x) == pytest.approx(2 * once, rel=0.1)
    until = lambda x: jax.lax.while_loop(
        lambda c: (c[0] < 500) & (c[1][0, 0] < 9), lambda c: (c[0] + 1, c[1] @ x), (0, x)
    )
    assert count(until, x) == pytest.approx(500 * once, rel=0.1)
    assert count(lambda x: jax.lax.while_loop(lambda x: x[0, 0] < 9.0, lambda x: x @ x, x), x) < 2 * once
    assert count(jax.vmap(jnp.linalg.cholesky), jnp.stack([x] * 4)) > 4 * 20**3 / 3


def group(runs):
    return SimpleNamespace(todo=list(range(runs)))


def test_every_group_has_its_own_pace():
    small, large = group(10), group(4)
    told = Forecast([small, large], 2, None, print, counted=False)
    told.sizes = {id(small): 1.0, id(large): 100.0}
    assert told.remaining(2.0) == pytest.approx((10 + 400) / 2 / 2)
    assert told.take(Done(small, [0, 1], {}, 6.0)) == pytest.approx((8 * 3 + 4 * 300) / 2)
    assert told.take(Done(large, [0], {}, 200.0)) == pytest.approx((8 * 3 + 3 * 200) / 2)
    told.take(Done(large, [1, 2, 3], {}, 600.0))
    assert told.take(Done(small, list(range(2, 10)), {}, 24.0)) == 0


def test_without_sizes_a_run_is_a_run():
    told = Forecast([alone := group(4)], None, None, print, counted=False)
    assert told.remaining(None) is None
    told.start = time.monotonic() - 10
    # 30 s of work in 10 s: three at a time
    assert told.take(Done(alone, [0, 1], {}, 30.0)) == pytest.approx(10, rel=0.1)


def test_a_sweep_tells_what_it_expects_before_its_first_chunk_ends(monkeypatch):
    def wait(x):
        time.sleep(0.5)
        return x

    def experiment(key, *, steps=100):
        x = jax.lax.scan(lambda x, _: (x @ x / 10, None), jnp.ones((10, 10)), length=steps)[0]
        return {
            "x": jax.pure_callback(wait, jax.ShapeDtypeStruct((), x.dtype), x[0, 0], vmap_method="sequential")
        }

    monkeypatch.setattr(forecast, "WAIT", 0.0)
    told = []
    notify = lambda event, **info: told.append((event, info))
    armillary.sweep(Study(experiment), {"steps": [100, 300]}, seeds=4, notify=notify)
    events = [event for event, _ in told]
    assert events.index("forecast") < events.index("chunk")
    seconds = dict(told)["forecast"]["seconds"]
    work = 4 * 400 * (2 * 10**3 + 10**2)
    assert seconds == pytest.approx(work / forecast.SPEED / len(jax.local_devices()), rel=0.2)
    left = [info["left"] for event, info in told if event == "chunk"]
    assert left[0] > 0
    assert left[-1] == 0
