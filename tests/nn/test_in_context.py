"""The regressor's two ways of reading a prompt, and what each prediction may depend on."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.measure import algorithm_match, ridge
from armillary.nn import InContextRegressor, regression_tokens


def prompt(*shape):
    keys = jax.random.split(jax.random.key(1), 3)
    return (
        jax.random.normal(keys[0], (*shape, 5, 3)),
        jax.random.normal(keys[1], (*shape, 5)),
        jax.random.normal(keys[2], (*shape, 4, 3)),
    )


def make():
    return InContextRegressor(jax.random.key(0), dim=3, length=5, layers=2, width=8)


def test_tokens():
    x, y = np.arange(6.0).reshape(3, 2), np.array([10.0, 11.0, 12.0])
    expected = [[0, 0, 0, 0, 1], [0, 1, 10, 2, 3], [2, 3, 11, 4, 5]]
    np.testing.assert_array_equal(regression_tokens(jnp.array(x), jnp.array(y)), expected)


def test_one_pass_is_each_prefix_asked_by_itself():
    model, (x, y, _) = make(), prompt()
    along = model.along(x, y)
    for i in range(1, 5):
        np.testing.assert_allclose(along[i], model(x[:i], y[:i], x[i : i + 1])[0], atol=1e-5)


def test_a_prediction_knows_no_later_example_and_not_its_own_response():
    model, (x, y, _) = make(), prompt(2)
    other = model.along(x.at[:, 3:].add(1.0), y.at[:, 2:].add(1.0))
    np.testing.assert_array_equal(model.along(x, y)[:, :3], other[:, :3])
    assert not np.allclose(model.along(x, y)[:, 3:], other[:, 3:])


def test_queries_do_not_see_each_other_and_it_is_a_learner():
    model, (x, y, query) = make(), prompt(2)
    alone = jax.vmap(model)(x, y, query[:, 1:2])[:, 0]
    np.testing.assert_allclose(jax.vmap(model)(x, y, query)[:, 1], alone, atol=1e-5)
    found = algorithm_match(model, ridge(1.0), x, y, query, jnp.zeros((2, 4)))
    expected = jnp.mean((jax.vmap(model)(x, y, query) - jax.vmap(ridge(1.0))(x, y, query)) ** 2)
    np.testing.assert_allclose(found.prediction_difference, [[expected]], rtol=1e-4)
