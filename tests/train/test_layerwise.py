"""Layerwise training against least squares on quadratic monomials, and against scikit-learn's ridge."""

from functools import partial

import jax
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from armillary.data import hermite, hierarchical_polynomial
from armillary.measure import feature_recovery
from armillary.train import layerwise_three_layer

DIM, ROWS, CUT = 8, 1000, 800
quadratic = partial(hermite, 2)


@pytest.fixture(scope="module")
def trained():
    k_h, k_x, k_net = jax.random.split(jax.random.key(0), 3)
    h = hierarchical_polynomial(k_h, DIM)
    x = jax.random.normal(k_x, (ROWS + 500, DIM))
    train = jax.jit(partial(layerwise_three_layer, width=400, activation=quadratic), static_argnames="steps")
    return h, x, {steps: train(k_net, x[:ROWS], h(x[:ROWS]), steps=steps) for steps in (1, 1000)}


def test_stage_one_is_least_squares_on_the_products_of_two_inputs(trained):
    h, x, networks = trained
    i, j = np.triu_indices(DIM)
    products = np.asarray(x)[:, i] * np.asarray(x)[:, j]
    least = LinearRegression().fit(products[:CUT], h(x[:CUT])).predict(products)
    assert feature_recovery(networks[1000].feature(x), least) > 0.9999
    # after one step it points along the correlations instead, which is less than all there is to learn
    assert feature_recovery(networks[1].feature(x), least) < 0.95


def test_the_feature_is_standardized_on_the_rows_of_stage_two(trained):
    _, x, networks = trained
    u = np.asarray(networks[1000].feature(x[CUT:ROWS]))
    np.testing.assert_allclose([u.mean(), u.std()], [0, 1], atol=1e-4)


def test_stage_two_is_ridge_regression_on_rows_of_its_own(trained):
    h, x, networks = trained
    net = networks[1000]
    hidden = np.maximum(
        np.asarray(net.slopes) * np.asarray(net.feature(x))[:, None] + np.asarray(net.biases), 0
    )
    assert set(np.asarray(net.slopes).tolist()) == {1.0, -1.0}
    ridge = Ridge(alpha=0.01 * (ROWS - CUT)).fit(hidden[CUT:ROWS], np.asarray(h(x[CUT:ROWS])))
    np.testing.assert_allclose(net(x), ridge.predict(hidden), atol=5e-3)
    np.testing.assert_allclose(net.outer, ridge.coef_, atol=5e-3)


def test_both_stages_need_examples():
    with pytest.raises(ValueError, match=r"share=1.0 of 10 rows"):
        layerwise_three_layer(
            jax.random.key(0),
            jax.numpy.ones((10, 2)),
            jax.numpy.ones(10),
            width=3,
            activation=quadratic,
            share=1.0,
        )
