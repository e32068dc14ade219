import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.train import hinge_sgd


@pytest.mark.parametrize("rate", [0.3, 0.5, 4.0])
def test_orthogonal_examples_each_need_so_many_updates(rate):
    lengths, y = np.array([0.5, 1.0, 2.0]), np.array([1.0, -1.0, 1.0])
    run = hinge_sgd(jnp.diag(lengths), jnp.array(y), rate, key=jax.random.key(0), max_updates=1000)
    counts = np.ceil(1 / (rate * lengths**2))
    np.testing.assert_allclose(run.weights, rate * counts * y * lengths, rtol=1e-5)
    assert run.updates == counts.sum()
    assert run.fitted


def plain_sgd(x, y, rate, rng):
    """Every step drawn, most of them without effect."""
    w = np.zeros(x.shape[1])
    while np.any(y * (x @ w) < 1):
        i = rng.integers(len(y))
        if y[i] * (x[i] @ w) < 1:
            w = w + rate * y[i] * x[i]
    return w


def test_distribution_is_that_of_sgd_with_every_step_drawn():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(12, 3)).astype(np.float32)
    y = np.sign(x[:, 0])
    keys = jax.random.split(jax.random.key(0), 400)
    skipping = jax.vmap(lambda k: hinge_sgd(x, y, 2.0, key=k, max_updates=1000).weights)(keys)
    plain = np.stack([plain_sgd(x, y, 2.0, rng) for _ in range(400)])
    error = np.sqrt(skipping.var(0) / 400 + plain.var(0) / 400)
    assert np.all(abs(skipping.mean(0) - plain.mean(0)) < 4 * error)
    np.testing.assert_allclose(skipping.std(0), plain.std(0), rtol=0.2)


def test_absent_examples_and_giving_up():
    x, y = jnp.array([[1.0], [1.0]]), jnp.array([1.0, -1.0])
    run = hinge_sgd(x, y, 1.0, key=jax.random.key(0), max_updates=10, present=jnp.array([True, False]))
    assert (float(run.weights[0]), int(run.updates), bool(run.fitted)) == (1, 1, True)
    contradictory = hinge_sgd(x, y, 1.0, key=jax.random.key(0), max_updates=10)
    assert (int(contradictory.updates), bool(contradictory.fitted)) == (10, False)
