import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm
from sklearn.linear_model import LogisticRegression

from armillary.measure import strip_moments
from armillary.train import halfspace_tester_learner, ramp_halfspace


def test_moments_by_hand():
    x = np.random.default_rng(0).standard_normal((5000, 3)) * np.array([1, 1, 2])
    found = strip_moments(jnp.array(x), jnp.array([3.0, 0, 0]), 0.5)
    strip = x[abs(x[:, 0]) <= 0.5]
    assert float(found.mass) == pytest.approx(abs(len(strip) / 5000 / (2 * norm.cdf(0.5) - 1) - 1), abs=1e-4)
    off = strip[:, 1:].T @ strip[:, 1:] / len(strip) - np.eye(2)
    assert float(found.second) == pytest.approx(np.linalg.norm(off, 2), rel=1e-4)
    assert float(found.fourth) == pytest.approx(np.mean(x[:, 2] ** 4) / 3 - 1, rel=1e-4)


def test_an_empty_strip_is_no_evidence():
    x = jnp.stack([jnp.sign(jnp.sin(jnp.arange(1.0, 51))) * 3, jnp.cos(jnp.arange(50.0))], 1)
    found = strip_moments(x, jnp.array([1.0, 0.0]), 0.2)
    assert float(found.mass) == 1
    assert np.isinf(found.second)


def test_a_clean_halfspace_is_found_as_by_logistic_regression():
    x = jax.random.normal(jax.random.key(0), (4000, 5))
    y = jnp.sign(x @ jnp.array([1.0, -1, 0, 0.5, 0]))
    w = ramp_halfspace(jax.random.key(1), x, y)
    other = LogisticRegression(C=1e4).fit(x, y).coef_[0]
    assert float(w @ other / np.linalg.norm(other)) > 0.999


def test_a_gaussian_is_accepted_and_clusters_are_not():
    k = jax.random.split(jax.random.key(2), 4)
    x = jax.random.normal(k[0], (8000, 5))
    found = halfspace_tester_learner(k[1], x[:4000], jnp.sign(x[:4000, 0]), x[4000:])
    assert bool(found.accepted)
    centres = jax.random.normal(k[2], (8, 5))
    x = centres[jnp.arange(8000) % 8] + 0.05 * x
    found = halfspace_tester_learner(k[3], x[:4000], jnp.sign(x[:4000, 0]), x[4000:])
    assert not bool(found.accepted)
