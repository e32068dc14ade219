"""Switched-off units against cutting them out of the matrices."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.nn import MLP, norm_order, truncate_hidden

NETWORK = MLP((4, 7, 3), jax.random.key(0), activation=jnp.tanh, init="torch")
X = np.asarray(jax.random.normal(jax.random.key(1), (11, 4)))


def by_hand(places, mean=None):
    (into, out), (b, c) = ([np.asarray(p) for p in side] for side in (NETWORK.weights, NETWORK.biases))
    hidden = np.tanh(X @ into + b)
    if mean is not None:
        dead = np.setdiff1d(np.arange(7), places)
        c = c + mean[dead] @ out[dead]
    return hidden[:, places] @ out[places] + c


def test_it_is_the_network_without_those_units():
    order = np.array([3, 0, 6, 1, 5, 2, 4])
    curve = jax.vmap(lambda k: truncate_hidden(NETWORK, k, jnp.array(order))(X))(jnp.arange(8))
    for keep in range(8):
        np.testing.assert_allclose(curve[keep], by_hand(order[:keep]), atol=1e-5)
    np.testing.assert_allclose(truncate_hidden(NETWORK, 2)(X), by_hand(np.arange(2)), atol=1e-5)


def test_means_go_on_being_sent():
    mean = np.asarray(NETWORK.features(X).mean(0))
    short = truncate_hidden(NETWORK, 3, mean=jnp.array(mean))
    np.testing.assert_allclose(short(X), by_hand(np.arange(3), mean), atol=1e-5)
    np.testing.assert_allclose(short(X).mean(0), NETWORK(X).mean(0), atol=1e-5)


def test_norm_order_puts_the_longest_in_front():
    lengths = np.linalg.norm(NETWORK.weights[-1], axis=1)[np.asarray(norm_order(NETWORK))]
    assert (np.diff(lengths) <= 0).all()
