import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from armillary.series import ShallowPLRNN


def test_step_is_the_formula_and_the_jacobian_is_its_derivative():
    model = ShallowPLRNN(3, 20, jax.random.key(0))
    z = jnp.array([0.3, -1.0, 0.7])
    a, w1, w2, h1, h2 = map(np.asarray, (model.diagonal, model.out, model.into, model.bias, model.threshold))
    assert_allclose(model(z), a * z + w1 @ np.maximum(w2 @ np.asarray(z) + h2, 0) + h1, rtol=1e-5)
    assert_allclose(model.jacobian(z), jax.jacrev(model)(z), rtol=1e-5, atol=1e-6)
    assert np.abs(a).max() <= 1
