import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose
from scipy.stats import entropy

from armillary.series import occupation, state_space_divergence


def test_histogram_is_numpys():
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    got = np.asarray(occupation(jnp.asarray(x), bins=7, limit=2.0))
    edges = [np.linspace(-2, 2, 8)] * 3
    counts = np.histogramdd(x, edges)[0]
    # The first coordinate counts fastest here, the last in NumPy.
    assert_allclose(got[:-1], counts.transpose(2, 1, 0).ravel() / 5000, atol=1e-6)
    assert_allclose(got[-1], 1 - counts.sum() / 5000, atol=1e-5)


def test_divergence_is_scipys_relative_entropy():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(4000, 2)), 0.7 * rng.normal(size=(3000, 2))
    got = state_space_divergence(jnp.asarray(x), jnp.asarray(y), bins=10, limit=6.0, pseudo_count=0.5)
    edges = [np.linspace(-6, 6, 11)] * 2
    p, q = (np.append(np.histogramdd(z, edges)[0].ravel(), 0) + 0.5 for z in (x, y))
    assert_allclose(got, entropy(p, q), rtol=1e-4)


def test_order_does_not_count_and_escape_does():
    x = jax.random.normal(jax.random.key(0), (2000, 3))
    assert_allclose(state_space_divergence(x, x[::-1]), 0, atol=1e-6)
    escaped = jnp.full((2000, 3), jnp.nan)
    assert state_space_divergence(x, escaped) > 7
    assert_allclose(occupation(escaped)[-1], 1)
