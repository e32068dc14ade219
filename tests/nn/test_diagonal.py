import jax
import jax.numpy as jnp
import numpy as np

from armillary.nn import DiagonalLinear


def test_prediction_and_hessian_trace_at_a_minimum():
    net = DiagonalLinear(3, 0.5)
    x = jax.random.normal(jax.random.key(0), (4, 3))
    np.testing.assert_array_equal(net(x), 0)
    u, v = jnp.array([1.0, 2.0, 0.0]), jnp.array([0.5, 0.0, 1.0])
    net = DiagonalLinear(3)
    object.__setattr__(net, "u", u)
    object.__setattr__(net, "v", v)
    np.testing.assert_allclose(net(x), x @ jnp.array([0.75, 4.0, -1.0]), rtol=1e-6)
    # The outputs' gradients are (2ux, -2vx), so the mean square is 4(‖u‖² + ‖v‖²) for unit features.
    grads = jax.jacobian(lambda n: n(jnp.ones((1, 3))))(net)
    np.testing.assert_allclose((grads.u**2 + grads.v**2).sum(), 4 * (5 + 1.25), rtol=1e-6)
