import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from armillary.measure import hessian_sizes
from armillary.nn import MLP


@pytest.fixture(scope="module")
def problem():
    keys = jax.random.split(jax.random.key(0), 3)
    net = MLP((3, 6, 1), keys[0], activation=jnp.tanh)
    batch = jax.random.normal(keys[1], (9, 3)), jax.random.normal(keys[2], (9,))
    loss = lambda net, batch: jnp.mean((net(batch[0])[:, 0] - batch[1]) ** 2) / 2
    flat, unravel = ravel_pytree((net.weights, net.biases))

    def plain(f):
        (w1, w2), (b1, b2) = unravel(f)
        return jnp.mean(((jnp.tanh(batch[0] @ w1 + b1) @ w2 + b2)[:, 0] - batch[1]) ** 2) / 2

    return net, batch, loss, np.asarray(jax.hessian(plain)(flat))


def test_exact_sizes_are_those_of_the_explicit_hessian(problem):
    net, batch, loss, hessian = problem
    found = hessian_sizes(loss, net, batch, key=jax.random.key(1))
    np.testing.assert_allclose(found.trace.value, np.trace(hessian), rtol=1e-4)
    np.testing.assert_allclose(found.frobenius.value, np.linalg.norm(hessian), rtol=1e-4)
    np.testing.assert_allclose(found.largest.value, np.linalg.eigvalsh(hessian)[-1], rtol=1e-4)
    assert found.trace.error == found.frobenius.error == 0


def test_stochastic_sizes_agree_within_their_errors(problem):
    net, batch, loss, hessian = problem
    found = hessian_sizes(loss, net, batch, key=jax.random.key(2), method="stochastic", probes=400)
    assert 0 < found.trace.error < 0.2 * np.trace(hessian)
    assert abs(found.trace.value - np.trace(hessian)) < 4 * found.trace.error
    assert abs(found.frobenius.value - np.linalg.norm(hessian)) < 4 * found.frobenius.error
    np.testing.assert_allclose(found.largest.value, np.linalg.eigvalsh(hessian)[-1], rtol=1e-3)


def test_an_unknown_method_is_refused(problem):
    net, batch, loss, _ = problem
    with pytest.raises(ValueError, match="stochastic"):
        hessian_sizes(loss, net, batch, key=jax.random.key(0), method="guess")
