import jax
import jax.numpy as jnp
import numpy as np

from armillary.measure import cross_entropy, gradient_matrix, per_example_gradients
from armillary.nn import MLP


def loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def setup():
    model = MLP((3, 4, 2), jax.random.key(0), activation=jnp.tanh)
    return model, (jax.random.normal(jax.random.key(1), (6, 3)), jnp.array([0, 1, 1, 0, 1, 0]))


def test_each_row_is_the_gradient_of_its_example():
    model, batch = setup()
    grads = per_example_gradients(loss, model, batch)
    for i in range(6):
        alone = jax.grad(loss)(model, (batch[0][i : i + 1], batch[1][i : i + 1]))
        for got, want in zip(jax.tree.leaves(grads), jax.tree.leaves(alone)):
            np.testing.assert_allclose(got[i], want, rtol=1e-5, atol=1e-7)


def test_the_last_layer_in_closed_form():
    model, (x, y) = setup()
    grads = per_example_gradients(loss, model, (x, y))
    error = jax.nn.softmax(model(x)) - jax.nn.one_hot(y, 2)
    np.testing.assert_allclose(grads.biases[-1], error, atol=1e-6)
    np.testing.assert_allclose(
        grads.weights[-1], model.features(x)[:, :, None] * error[:, None, :], atol=1e-6
    )


def test_the_matrix_has_a_row_an_example_and_the_mean_gradient():
    model, batch = setup()
    matrix = gradient_matrix(per_example_gradients(loss, model, batch))
    mean = jnp.concatenate([g.ravel() for g in jax.tree.leaves(jax.grad(loss)(model, batch))])
    assert matrix.shape == (6, 3 * 4 + 4 + 4 * 2 + 2)
    np.testing.assert_allclose(matrix.mean(0), mean, atol=1e-6)


def test_what_is_not_trained_has_no_gradient():
    params = {"w": jnp.ones(2), "count": jnp.array(3)}
    grads = per_example_gradients(lambda p, x: jnp.mean(x @ p["w"]) * p["count"], params, jnp.eye(2))
    assert grads["count"] is None
    np.testing.assert_allclose(grads["w"], 3 * np.eye(2))
