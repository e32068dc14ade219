import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import beta

from armillary.decide import curriculum, group_relative_gradient, neyman_allocation, posterior_spread


def test_spread_is_that_of_the_posterior_mean():
    successes, failures = np.array([0.0, 3, 7]), np.array([0.0, 1, 25])
    mean = beta(successes + 1, failures + 1).mean()
    found = posterior_spread(jnp.array(successes), jnp.array(failures))
    np.testing.assert_allclose(found, np.sqrt(mean * (1 - mean)), rtol=1e-6)
    chances = curriculum(found, 0.1)
    assert float(chances.sum()) == pytest.approx(1)
    np.testing.assert_allclose(chances - 0.1 / 3, 0.9 * found / found.sum(), rtol=1e-5)


def test_allocation_by_trying_all():
    """Of all ways to give 14 tries to four prompts, each at least one, none has a smaller variance."""
    spread = np.array([0.5, 0.3, 0.1, 0.02])
    given = np.asarray(neyman_allocation(jnp.array(spread), 14))
    assert given.sum() == 14
    every = [n for n in itertools.product(range(1, 12), repeat=4) if sum(n) == 14]
    least = min(np.sum(spread**2 / np.array(n)) for n in every)
    assert np.sum(spread**2 / given) <= 1.02 * least
    assert set(np.asarray(neyman_allocation(jnp.ones(5), 15))) == {3}
    with pytest.raises(ValueError, match="total=3 is less than least=1 for each of 4"):
        neyman_allocation(jnp.array(spread), 3)


def test_gradient_is_unbiased_up_to_the_group():
    """Its mean is −(1 − 1/rollouts) times the gradient of the chance of success: the baseline contains the reward."""
    weights = jax.random.normal(jax.random.key(0), (4, 3))
    x, right = jax.random.normal(jax.random.key(1), (2, 3)), jnp.array([1, 3])
    logits = lambda w, x: x @ w.T
    gradient = group_relative_gradient(logits, rollouts=4)
    keys = jax.random.split(jax.random.key(2), 40_000)
    _, drawn = jax.vmap(lambda key: gradient(weights, (x, right, key)))(keys)
    chance = lambda w: jnp.mean(jax.nn.softmax(logits(w, x))[jnp.arange(2), right])
    expected = -(1 - 1 / 4) * jax.grad(chance)(weights)
    error = drawn.std(0) / len(keys) ** 0.5
    assert np.all(abs(drawn.mean(0) - expected) < 4.5 * error + 1e-6)
