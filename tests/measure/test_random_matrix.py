"""The spectrum's known moments, SciPy's integrals of the density, and sampled matrices."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from armillary.measure import linear_generalization_curve, marchenko_pastur


@pytest.mark.parametrize("alpha", [0.3, 1.0, 3.0])
def test_moments(alpha):
    found = marchenko_pastur(alpha)
    mean = lambda f: float(jnp.sum(found.weight * f(found.value)))
    assert mean(jnp.ones_like) == pytest.approx(min(1, alpha), abs=2e-4)
    assert mean(lambda v: v) == pytest.approx(1, abs=1e-4)
    assert mean(lambda v: v**2) == pytest.approx(1 + 1 / alpha, rel=1e-4)
    assert float(found.zeros) == pytest.approx(max(0, 1 - alpha))
    if alpha > 1:
        assert mean(lambda v: 1 / v) == pytest.approx(alpha / (alpha - 1), rel=1e-3)


@pytest.mark.parametrize("alpha", [0.5, 2.0])
def test_the_curve_is_the_integral_over_the_density(alpha):
    low, high = (1 - alpha**-0.5) ** 2, (1 + alpha**-0.5) ** 2
    noise, start = 0.3, 0.5

    def at(t):
        def integrand(v):
            density = alpha * np.sqrt((high - v) * (v - low)) / (2 * np.pi * v)
            return density * (
                (1 + start) * np.exp(-2 * v * t) + noise * (1 - np.exp(-v * t)) ** 2 / (alpha * v)
            )

        bulk = scipy.integrate.quad(integrand, low, high, limit=200)[0]
        return bulk + max(0, 1 - alpha) * (1 + start) + noise

    times = np.array([0.0, 0.3, 2.0, 50.0])
    found = linear_generalization_curve(jnp.asarray(times), alpha, noise=noise, start=start)
    np.testing.assert_allclose(found, [at(t) for t in times], rtol=1e-4)


def test_the_curve_is_the_mean_of_sampled_students():
    random, n, p, noise, start = np.random.default_rng(0), 150, 225, 0.4, 0.7
    time, errors = np.array([0.5, 3.0, 100.0]), []
    for _ in range(20):
        x = random.normal(size=(p, n))
        teacher, first = random.normal(size=(2, n)) * np.array([[1.0], [start**0.5]]) / n**0.5
        y = x @ teacher + noise**0.5 * random.normal(size=p)
        values, vectors = np.linalg.eigh(x.T @ x / p)
        best = vectors.T @ np.linalg.lstsq(x, y, rcond=None)[0]
        weights = best + np.exp(-values * time[:, None]) * (vectors.T @ first - best)
        errors.append(((weights - vectors.T @ teacher) ** 2).sum(1) + noise)
    found = linear_generalization_curve(jnp.asarray(time), p / n, noise=noise, start=start)
    np.testing.assert_allclose(found, np.mean(errors, 0), rtol=0.06)
