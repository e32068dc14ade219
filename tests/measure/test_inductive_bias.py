import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2

from armillary.measure import inductive_bias_bits, intrinsic_dimension, weighted_chi2_log_cdf


@pytest.mark.parametrize(("terms", "x"), [(6, 0.5), (6, 3.0), (50, 5.0), (400, 20.0), (400, 399.0)])
def test_equal_weights_are_a_chi_square(terms, x):
    with jax.enable_x64(True):
        found = float(weighted_chi2_log_cdf(jnp.full(terms, 2.0), 2 * x))
    assert found == pytest.approx(chi2(terms).logcdf(x), abs=0.02, rel=1e-3)


def test_unequal_weights_by_sampling():
    weights = np.array([3.0, 2.0, 1.0, 1.0, 0.5, 0.1, 0.1, 0.0])
    draws = (np.random.default_rng(0).standard_normal((1_000_000, 8)) ** 2) @ weights
    for x in (0.6, 1.5, 4.0):
        found = float(weighted_chi2_log_cdf(jnp.array(weights), x))
        assert found == pytest.approx(np.log(np.mean(draws <= x)), abs=0.05)


@pytest.mark.parametrize(("dimension", "examples"), [(1, 0), (2, 3), (3, 3), (3, 100)])
def test_bits_by_scipy(dimension, examples):
    modes = 5**dimension
    expected = -chi2(modes - examples).logcdf(0.05 * modes) / np.log(2)
    with jax.enable_x64(True):
        assert float(inductive_bias_bits(dimension, examples)) == pytest.approx(expected, rel=0.02)


def test_bits_at_the_ends():
    with jax.enable_x64(True):
        assert float(inductive_bias_bits(1, 5)) == 0  # the examples say it all
        assert float(inductive_bias_bits(1, 0, error=2.0)) == 0
        huge = float(inductive_bias_bits(50.0, 3))
    assert huge == pytest.approx(5.0**50 * (0.05 - 1 - np.log(0.05)) / 2 / np.log(2), rel=1e-6)


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_dimension_of_a_cube_in_many(dimension):
    """The exponent by maximum likelihood has a relative error of n^-½."""
    rng = np.random.default_rng(dimension)
    plane = np.linalg.qr(rng.standard_normal((20, dimension)))[0]
    x = rng.random((1500, dimension)) @ plane.T
    found, error = intrinsic_dimension(jnp.array(x, jnp.float32))
    assert float(error) == pytest.approx(float(found) / 1350**0.5, rel=0.01)
    assert abs(float(found) - dimension) < 4 * float(error) + 0.03 * dimension


def test_equal_points_do_not_count():
    x = jax.random.normal(jax.random.key(0), (800, 3))
    twice = jnp.concatenate([x, x[:1]])
    assert float(intrinsic_dimension(twice)[0]) == pytest.approx(float(intrinsic_dimension(x)[0]), rel=0.02)
