import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import separability
from armillary.train import (
    batch_perceptron,
    iterates,
    logistic_gd,
    logistic_weights,
    normalized_logistic_gd,
    perceptron_weights,
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def separable(seed=0, n=60, d=5):
    rng = np.random.default_rng(seed)
    # Columns of unequal size, so that the mean example is no separator.
    x, truth = rng.normal(size=(n, d)) * [3.0, 1.0, 1.0, 0.5, 0.3], np.array([0.1, 1, -1, 2, 2])
    z = np.sign(x @ truth)[:, None] * x
    return z[np.abs(x @ truth) > 0.2]


def plain_loop(z, weigh, step, limit=10_000):
    """The algorithms by an ordinary loop in NumPy: (iterations, θ)."""
    theta = np.zeros(z.shape[1])
    for count in range(limit):
        if (z @ theta > 0).all():
            return count, theta
        theta = theta + step * weigh(z @ theta) @ z
    return limit, theta


def test_batch_perceptron_against_a_loop():
    z = separable()
    count, theta = plain_loop(z, lambda m: ((m < 0) + 0.5 * (m == 0)) / len(z), 1.0)
    got = batch_perceptron(jnp.array(z), max_iter=10_000)
    assert 1 < count == got.iterations
    np.testing.assert_allclose(got.theta, theta, rtol=1e-12)


@pytest.mark.parametrize("gamma", [1.0, 30.0])
def test_logistic_gd_follows_the_gradient_of_the_logistic_loss(gamma):
    z = jnp.array(separable())
    grad = jax.grad(lambda t: jnp.mean(jnp.log1p(jnp.exp(-z @ t))))
    theta, path = jnp.zeros(5), []
    for _ in range(5):
        theta = theta - gamma * grad(theta)
        path.append(theta)
    np.testing.assert_allclose(iterates(z, logistic_weights, gamma, steps=5), jnp.stack(path), rtol=1e-10)
    count, end = plain_loop(np.array(z), lambda m: 1 / (1 + np.exp(m)) / len(z), gamma)
    got = logistic_gd(z, gamma, max_iter=10_000)
    assert got.iterations == count
    np.testing.assert_allclose(got.theta, end, rtol=1e-9)


def test_the_limit_of_large_steps_is_the_perceptron():
    z = jnp.array(separable())
    limit = iterates(z, perceptron_weights, 1.0, steps=10)
    np.testing.assert_allclose(iterates(z, logistic_weights, 1e9, steps=10) / 1e9, limit, rtol=1e-6)


# The finite step is compared over 40 updates: near the perceptron limit rounding errors grow exponentially.
@pytest.mark.parametrize(("gamma", "limit"), [(5.0, 40), (0.1, 10_000), (np.inf, 10_000)])
def test_normalized_steps_against_a_loop(gamma, limit):
    z = separable(2)

    def weigh(m):
        w = ((m < 0) + 0.5 * (m == 0)) if np.isinf(gamma) else 1 / (1 + np.exp(gamma * m))
        return w / w.sum()

    count, theta = plain_loop(z, weigh, 1.0, limit)
    got = normalized_logistic_gd(jnp.array(z), gamma, max_iter=limit)
    assert 1 < count == got.iterations
    np.testing.assert_allclose(got.theta, theta, rtol=1e-9)


def test_bounds_on_the_number_of_updates():
    for seed in range(5):
        z = separable(seed)
        margin = separability(np.r_[z, -z], np.r_[np.ones(len(z)), -np.ones(len(z))]).margin
        bound = (np.linalg.norm(z, axis=1).max() / margin) ** 2
        assert normalized_logistic_gd(jnp.array(z), max_iter=10**6).iterations <= bound
        assert batch_perceptron(jnp.array(z), max_iter=10**6).iterations <= len(z) * bound


def test_shares_stand_for_copies():
    z = jnp.array([[1.0, 0.0], [-1.0, 0.3]])
    copies = jnp.concatenate([jnp.tile(z[:1], (31, 1)), z[1:]])
    share = jnp.array([31 / 32, 1 / 32])
    for run in (
        lambda z, s: batch_perceptron(z, max_iter=999, share=s),
        lambda z, s: logistic_gd(z, 1e4, max_iter=999, share=s),
        lambda z, s: normalized_logistic_gd(z, 1e4, max_iter=999, share=s),
        lambda z, s: normalized_logistic_gd(z, max_iter=999, share=s),
    ):
        few, many = run(z, share), run(copies, None)
        assert 1 < few.iterations == many.iterations
        np.testing.assert_allclose(few.theta, many.theta, rtol=1e-9)


def test_no_separator_and_overflow_both_report_the_limit():
    z = jnp.array([[1.0, 0.0], [-1.0, 0.0]])
    assert batch_perceptron(z, max_iter=50).iterations == 50
    assert logistic_gd(jnp.array(separable()), np.inf, max_iter=50).iterations == 50


def test_lanes_of_a_vmap_stop_by_themselves():
    z = jnp.stack([jnp.array(separable(seed))[:20] for seed in range(3)])
    together = jax.vmap(lambda z: normalized_logistic_gd(z, max_iter=9999))(z)
    alone = [normalized_logistic_gd(z_i, max_iter=9999) for z_i in z]
    assert together.iterations.tolist() == [int(a.iterations) for a in alone]
    np.testing.assert_allclose(together.theta, jnp.stack([a.theta for a in alone]), rtol=1e-9)
