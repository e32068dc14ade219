import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from armillary.measure import arc_cosine, ensemble_size, ntk_gaussian_process


@pytest.mark.parametrize("correlation", [-0.6, 0.0, 0.3, 1.0])
def test_kernels_by_sampling(correlation):
    u, other = np.random.default_rng(0).standard_normal((2, 400_000))
    v = correlation * u + np.sqrt(1 - correlation**2) * other
    step, prior = arc_cosine(jnp.array(correlation))
    assert float(step) == pytest.approx(2 * np.mean((u > 0) & (v > 0)), abs=5e-3)
    assert float(prior) == pytest.approx(2 * np.mean(np.maximum(u, 0) * np.maximum(v, 0)), abs=2e-2)


def test_prediction_is_that_of_wide_trained_networks():
    """Mean and variance over 300 networks of width 2,048, each trained by gradient descent until it fits."""
    key, test = jax.random.key(0), np.random.default_rng(1).standard_normal((4, 3))
    test = jnp.array(test / np.linalg.norm(test, axis=1, keepdims=True))
    x = jnp.array([[1.0, 0, 0], [0.6, 0.8, 0], [0, -0.28, 0.96]])
    y = jnp.array([[1.0, 0.0], [0.0, -1.0], [0.5, 2.0]])

    def trained(key):
        k_w, k_v = jax.random.split(key)
        params = jax.random.normal(k_w, (2048, 3)), jax.random.normal(k_v, (2, 2048))
        f = lambda p, x: jax.nn.relu(x @ p[0].T) @ p[1].T * (2 / 2048) ** 0.5
        loss = lambda p: jnp.sum((f(p, x) - y) ** 2) / 2
        step = lambda p, _: (jax.tree.map(lambda a, g: a - 0.3 * g, p, jax.grad(loss)(p)), None)
        params, _ = jax.lax.scan(step, params, length=200)
        return f(params, test), loss(params)

    found, loss = jax.lax.map(trained, jax.random.split(key, 300), batch_size=20)
    assert float(loss.max()) < 1e-4
    expected = ntk_gaussian_process(x, y, test)
    variance = jnp.diag(expected.covariance)
    error = np.sqrt(variance / 300)[:, None]
    assert np.all(abs(found.mean(0) - expected.mean) < 4 * error + 0.02)
    np.testing.assert_allclose(found.var(0).mean(1), variance, rtol=0.25, atol=2e-3)


def test_ensemble_size_by_the_normal_distribution():
    """One output: N with P(z √(σ²/N) > gap/2) = 5%."""
    draws = jax.random.normal(jax.random.key(0), (200_000, 1))
    found = float(ensemble_size(draws, 0.1, 0.8))
    assert found == pytest.approx((norm.ppf(0.95) * 2 * 0.8 / 0.1) ** 2, rel=0.02)
