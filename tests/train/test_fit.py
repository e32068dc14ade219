"""The loop against closed-form descent and against a loop written by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from armillary.nn import MLP
from armillary.train import fit


def test_gradient_descent_on_a_quadratic_is_its_closed_form():
    rng = np.random.default_rng(0)
    root = rng.normal(size=(4, 4))
    hessian, start = root @ root.T / 4, rng.normal(size=4)
    rate = 0.3 / np.linalg.eigvalsh(hessian)[-1]
    loss = lambda w, h: 0.5 * w @ h @ w
    run = fit(loss, jnp.array(start), jnp.array(hessian), optax.sgd(rate), steps=20, record=lambda w: w)
    for t in range(20):
        w = np.linalg.matrix_power(np.eye(4) - rate * hessian, t) @ start
        np.testing.assert_allclose(run.record[t], w, atol=1e-5)
        np.testing.assert_allclose(run.loss[t], 0.5 * w @ hessian @ w, rtol=1e-4)
    end = np.linalg.matrix_power(np.eye(4) - rate * hessian, 20) @ start
    np.testing.assert_allclose(run.params, end, atol=1e-5)


def loss(model, batch):
    return jnp.mean((model(batch[0])[:, 0] - batch[1]) ** 2)


def draw(key):
    x = jax.random.normal(key, (16, 3))
    return x, x[:, 0] * x[:, 1]


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.linear_schedule(0.01, 0.0, 12)))


def run(seed=0, steps=12, **options):
    model = MLP((3, 8, 1), jax.random.key(seed))
    return fit(loss, model, draw, OPTIMIZER, steps=steps, key=jax.random.key(7), **options)


def test_it_is_the_loop_one_writes_by_hand():
    model = MLP((3, 8, 1), jax.random.key(0))
    state = OPTIMIZER.init((model.weights, model.biases))
    keys = jax.random.split(jax.random.key(7), (12, 1))[:, 0]
    losses = []
    for key in keys:
        value, grads = jax.value_and_grad(loss)(model, draw(key))
        updates, state = OPTIMIZER.update((grads.weights, grads.biases), state)
        model = jax.tree.map(
            lambda p, u: p + u, model, jax.tree.unflatten(jax.tree.structure(model), jax.tree.leaves(updates))
        )
        losses.append(value)
    found = run()
    np.testing.assert_allclose(found.loss, losses, rtol=1e-4)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(model)):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_a_stride_keeps_every_so_many_points():
    each, some = (run(every=n, record=lambda m: m.weights[0]) for n in (1, 4))
    assert some.loss.shape == (3,)
    assert some.record.shape == (3, 3, 8)
    # the same batches are drawn whatever the stride, so the curves are one curve
    np.testing.assert_allclose(some.loss, each.loss[::4], rtol=1e-4)
    np.testing.assert_allclose(some.record, each.record[::4], atol=1e-5)
    np.testing.assert_allclose(some.params.weights[0], each.params.weights[0], atol=1e-5)


def test_under_vmap_it_is_the_single_runs():
    found = jax.jit(jax.vmap(run))(jnp.arange(3))
    for seed in range(3):
        np.testing.assert_allclose(found.loss[seed], run(seed).loss, rtol=1e-4)


def test_a_state_goes_on_where_it_stopped():
    batch = draw(jax.random.key(1))
    model = MLP((3, 8, 1), jax.random.key(0))
    whole = fit(loss, model, batch, OPTIMIZER, steps=10)
    first = fit(loss, model, batch, OPTIMIZER, steps=4)
    second = fit(loss, first.params, batch, OPTIMIZER, steps=6, state=first.state)
    np.testing.assert_allclose(jnp.concatenate([first.loss, second.loss]), whole.loss, rtol=1e-5)


def test_what_is_no_float_is_kept_and_a_gradient_may_be_given():
    params = {"w": jnp.array([1.0, 2.0]), "steps": jnp.array(3), "name": "x"}
    value = lambda p, b: jnp.sum(p["w"] ** 2) * p["steps"]
    found = fit(value, params, None, optax.sgd(0.1), steps=1)
    np.testing.assert_allclose(found.params["w"], [0.4, 0.8], rtol=1e-6)
    assert found.params["name"] == "x"
    half = lambda p, b: (value(p, b), {"w": p["w"], "steps": None, "name": None})
    found = fit(value, params, None, optax.sgd(0.5), steps=1, gradient=half)
    np.testing.assert_allclose(found.params["w"], [0.5, 1.0], rtol=1e-6)


def test_wrong_calls():
    with pytest.raises(ValueError, match="steps=10 must be a non-negative multiple of every=4"):
        run(steps=10, every=4)
    with pytest.raises(ValueError, match="pass key="):
        fit(loss, MLP((3, 8, 1), jax.random.key(0)), draw, OPTIMIZER, steps=2)
