"""Feature recovery against NumPy's correlation."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.measure import feature_recovery


def test_it_is_the_correlation_without_sign_and_scale():
    a, b = (np.asarray(jax.random.normal(jax.random.key(i), (2, 50))) for i in (0, 1))
    wanted = [abs(np.corrcoef(p, q)[0, 1]) for p, q in zip(a, b)]
    np.testing.assert_allclose(feature_recovery(3 - 2 * a, b), wanted, atol=1e-6)
    np.testing.assert_allclose(feature_recovery(a, 5 - 0.1 * a), 1, atol=1e-5)
    assert feature_recovery(jnp.ones(50), b[0]) == 0
