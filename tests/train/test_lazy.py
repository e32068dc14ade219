import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.measure import empirical_ntk
from armillary.nn import MLP
from armillary.train import fit, lazy_scale, linearized

X = jax.random.normal(jax.random.key(0), (6, 3))
Y = jnp.sin(jnp.arange(6.0))
NET = MLP((3, 64, 1), jax.random.key(1), activation=jnp.tanh)


def outputs(net, x):
    return net(x)[:, 0]


def descend(model, alpha, rate, steps):
    loss = lambda net, batch: jnp.mean((model(net, batch[0]) - batch[1]) ** 2) / 2 / alpha**2
    return fit(loss, NET, (X, Y), optax.sgd(rate), steps=steps).params


def test_linearized_descent_is_kernel_descent():
    tangent = linearized(outputs, NET)
    found = tangent(descend(tangent, 1.0, 0.1, 50), X)
    kernel, start = np.asarray(empirical_ntk(outputs, NET, X)), np.asarray(outputs(NET, X))
    decay = np.linalg.matrix_power(np.eye(6) - 0.1 * kernel / 6, 50)
    np.testing.assert_allclose(found, Y + decay @ (start - Y), atol=1e-4)


def test_tangent_agrees_to_first_order():
    tangent = linearized(outputs, NET)

    def gap(step):
        moved = jax.tree.map(lambda w: w + step * jnp.cos(w * 9) if eqx.is_array(w) else w, NET)
        return float(jnp.linalg.norm(tangent(moved, X) - outputs(moved, X)))

    assert gap(0.0) == 0
    np.testing.assert_allclose(gap(0.04) / gap(0.02), 4, rtol=0.15)


def test_large_scale_trains_as_the_linearized_model_does():
    linear = lazy_scale(linearized(outputs, NET), NET, 1.0)
    expected = linear(descend(linear, 1.0, 0.1, 50), X)
    distance = []
    for alpha in (1.0, 10.0, 100.0):
        scaled = lazy_scale(outputs, NET, alpha)
        np.testing.assert_allclose(scaled(NET, X), 0, atol=1e-4)
        distance.append(float(jnp.linalg.norm(scaled(descend(scaled, alpha, 0.1, 50), X) - expected)))
    assert distance[1] < 0.2 * distance[0]
    assert distance[2] < 0.02 * distance[0]
