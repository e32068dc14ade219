import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from armillary.losses import binary_divergence, binary_perceptron_loss


def chance(fields):
    return 1 / (1 + np.exp(-2 * fields))


def test_divergence_by_all_states():
    rng = np.random.default_rng(0)
    h, prior = rng.standard_normal((2, 6)) * 2
    total = 0.0
    for state in itertools.product([-1, 1], repeat=6):
        q, p = (np.prod(chance(np.array(state) * f)) for f in (h, prior))
        total += q * np.log(q / p)
    assert float(binary_divergence(jnp.array(h), jnp.array(prior))) == pytest.approx(total, rel=1e-5)
    assert float(binary_divergence(jnp.array(h), jnp.array(h))) == pytest.approx(0, abs=1e-5)


def test_loss_by_sampling_weights():
    """200,000 draws of 200 binary weights: how often each label comes out right."""
    rng = np.random.default_rng(1)
    h, x = rng.standard_normal(200) * 0.7, rng.standard_normal((5, 200))
    y = np.array([1, -1, 1, 1, -1])
    w = np.where(rng.random((200_000, 200)) < chance(h), 1.0, -1.0).astype(np.float32)
    right = np.mean(y * (w @ x.T) > 0, 0)
    found = float(binary_perceptron_loss(*(jnp.array(a, jnp.float32) for a in (h, x, y))))
    assert found == pytest.approx(-np.mean(np.log(right)), rel=0.02)
