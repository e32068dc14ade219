import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from scipy.special import logsumexp

from armillary.measure import largest_logit, log_z_drift, power_law


def test_the_mask_hides_later_positions():
    logits = jnp.array([[[1.0, 99.0], [-3.0, 2.0]]])
    assert largest_logit(logits) == 3.0


def test_drift():
    logits = np.random.default_rng(0).normal(size=(4, 5, 9)) * 3
    np.testing.assert_allclose(
        log_z_drift(jnp.array(logits)), abs(logsumexp(logits, axis=-1).mean()), rtol=1e-5
    )


def test_drift_below_zero_counts_as_much():
    assert log_z_drift(jnp.full((3, 4), -20.0)) == pytest.approx(20 - np.log(4), rel=1e-6)


def test_power_law_is_a_regression_of_logarithms():
    rng = np.random.default_rng(1)
    x = np.geomspace(1e-3, 1, 7)
    y = 5 * x**1.7 * np.exp(0.1 * rng.normal(size=(3, 7)))
    found = power_law(x, y)
    for i in range(3):
        line = scipy.stats.linregress(np.log(x), np.log(y[i]))
        np.testing.assert_allclose(found.slope[i], line.slope, rtol=1e-4)
        np.testing.assert_allclose(found.scale[i], np.exp(line.intercept), rtol=1e-3)
    exact = power_law(x, 2 * x**2)
    np.testing.assert_allclose(exact.crossing(0.5), 0.5, rtol=1e-4)
