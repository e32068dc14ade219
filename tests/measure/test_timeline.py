import jax
import jax.numpy as jnp
import numpy as np

from armillary.measure import grokking_delay, oddness, overfitting_timeline

TIME = jnp.array([0.0, 1.0, 10.0, 100.0])


def test_phases():
    grokking = overfitting_timeline(TIME, jnp.array([0.5, 1, 1, 1]), jnp.array([0.5, 0.5, 0.6, 0.97]))
    assert grokking == (1, 100, 99, True)
    harmful = overfitting_timeline(TIME, jnp.array([0.5, 0.6, 1, 1]), jnp.array([0.5, 0.96, 0.9, 0.8]))
    assert harmful == (10, 1, -9, False)
    never = overfitting_timeline(TIME, jnp.full(4, 0.5), jnp.full(4, 0.5))
    assert np.isinf(never.fitted)
    assert np.isinf(never.generalized)
    assert np.isnan(never.delay)
    assert not never.benign


def test_oddness_of_linear_even_and_mixed_functions():
    x = jax.random.normal(jax.random.key(0), (20_000, 3))
    of = lambda f: float(oddness(f(x), f(-x)))
    np.testing.assert_allclose(of(lambda x: x @ jnp.array([1.0, 2, 3])), 1, atol=1e-5)
    np.testing.assert_allclose(of(lambda x: jnp.abs(x[:, 0])), -1, atol=1e-5)
    # Odd and even parts of variance 1 and 2: (1 - 2) / (1 + 2).
    np.testing.assert_allclose(of(lambda x: x[:, 0] + x[:, 1] ** 2), -1 / 3, atol=0.03)


def test_grokking_delay_counts_orders_of_magnitude():
    time = jnp.array([1.0, 10.0, 100.0, 1000.0])
    found = grokking_delay(time, jnp.array([1, 0.1, 0, 0]), jnp.array([1, 0.9, 0.5, 0.05]), threshold=0.1)
    assert found == (2, False, 10, 1000)
    never = grokking_delay(time, jnp.array([1, 0.1, 0, 0]), jnp.full(4, 0.5), threshold=0.1)
    assert never == (2, True, 10, 1000)
    neither = grokking_delay(time, jnp.ones(4), jnp.ones(4), threshold=0.1)
    assert neither == (0, True, 1000, 1000)
