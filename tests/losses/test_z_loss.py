import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp

from armillary.losses import z_loss


def test_z_loss_is_the_mean_square_of_log_z():
    logits = np.random.default_rng(0).normal(size=(4, 3, 7)).astype(np.float32) * 5
    np.testing.assert_allclose(z_loss(logits, 0.1), 0.1 * np.mean(logsumexp(logits, axis=-1) ** 2), rtol=1e-5)


def test_z_loss_is_zero_at_log_probabilities_and_its_gradient_is_finite_far_away():
    logits = jax.nn.log_softmax(jnp.arange(5.0))
    np.testing.assert_allclose(z_loss(logits, 1.0), 0, atol=1e-12)
    assert jnp.isfinite(jax.grad(z_loss)(jnp.array([1e4, 0.0, -1e4]), 1e-4)).all()
