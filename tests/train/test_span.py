import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.train import fit, span_gradient


def test_is_descent_on_the_layer_itself():
    keys = jax.random.split(jax.random.key(0), 4)
    x, z = jax.random.normal(keys[0], (6, 20)), jax.random.normal(keys[1], (3, 20))
    y = jnp.array([1.0, -1, 1, -1, 1, 1])
    first, head = jax.random.normal(keys[2], (5, 20)) / 5, jax.random.normal(keys[3], (5,))
    loss = lambda h, y: jax.nn.softplus(-y * (head @ jax.nn.relu(h))).mean()
    direct = fit(lambda w, y: loss(w @ x.T, y), first, y, optax.sgd(0.1), steps=50)
    gradient = span_gradient(loss, first @ x.T, x @ x.T)
    found = fit(loss, jnp.zeros((5, 6)), y, optax.sgd(0.1), steps=50, gradient=gradient)
    np.testing.assert_allclose(found.loss, direct.loss, rtol=1e-4)
    np.testing.assert_allclose(first @ z.T + found.params @ (x @ z.T), direct.params @ z.T, atol=1e-4)
    assert direct.loss[-1] < 0.5 * direct.loss[0]
