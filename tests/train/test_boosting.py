"""Boosting against SciPy's line search, scikit-learn's gradient boosting and sums taken by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from armillary.data import split, table
from armillary.measure import cross_entropy
from armillary.train import boosted_part, line_search_newton, sgd_boost
from armillary.train.boosting import best_constant

squared = lambda f, y: 0.5 * jnp.mean((f[:, 0] - y) ** 2)


def test_the_line_search_is_scipys():
    f, h = (2 * jax.random.normal(jax.random.key(i), (50, 3)) for i in (0, 1))
    y = jax.random.randint(jax.random.key(2), (50,), 0, 3)
    found = line_search_newton(lambda f: cross_entropy(f, y), f, h)
    wanted = minimize_scalar(lambda rho: float(cross_entropy(f + rho * h, y)), bounds=(-3, 3)).x
    np.testing.assert_allclose(found, wanted, atol=2e-3)


def test_one_newton_step_projects_where_the_loss_is_quadratic():
    f, h, y = (jax.random.normal(jax.random.key(i), (50, 1)) for i in range(3))
    rho = line_search_newton(lambda f: squared(f, y[:, 0]), f, h, iterations=1)
    np.testing.assert_allclose(rho, ((y - f) * h).sum() / (h * h).sum(), rtol=1e-5)


def test_it_never_raises_the_loss():
    # Two rows far right and one far wrong: the pure Newton step from 0 is thousands of times too long.
    f, h = jnp.array([[9.0], [9.0], [-9.0]]), jnp.array([[1.0], [-1.0], [0.1]])
    loss = lambda f: jax.nn.softplus(-f).mean()
    slope, curve = (
        jax.grad(lambda r: loss(f + r * h))(0.0),
        jax.grad(jax.grad(lambda r: loss(f + r * h)))(0.0),
    )
    assert loss(f - slope / curve * h) > loss(f)
    assert loss(f + line_search_newton(loss, f, h, iterations=1) * h) < loss(f)


def test_the_constant_is_scikit_learns():
    _, y = table("breast_cancer")
    constant = best_constant(cross_entropy, jnp.array(y), len(y), 2)
    np.testing.assert_allclose(constant[1] - constant[0], np.log(y.mean() / (1 - y.mean())), atol=1e-4)


@pytest.fixture(scope="module")
def cancer():
    s = split(*table("breast_cancer"), 400, seed=0)
    boost = jax.jit(lambda key: sgd_boost(key, s.x_train, s.y_train, cross_entropy, out=2, units=3, steps=8))
    return s, boost(jax.random.key(0))


def test_the_sum_is_one_ordinary_network(cancer):
    s, run = cancer
    x, network = s.x_train, run.network
    f = np.tile(run.biases[0], (len(x), 1))
    for t in range(8):
        np.testing.assert_allclose(run.loss[t], cross_entropy(f, s.y_train), atol=1e-4)
        part = slice(3 * t, 3 * t + 3)
        hidden = np.tanh(x @ np.asarray(network.weights[0][:, part]) + np.asarray(network.biases[0][part]))
        h = hidden @ np.asarray(network.weights[1][part]) + np.asarray(run.biases[t + 1] - run.biases[t])
        np.testing.assert_allclose(
            boosted_part(run, 8 - t, end="last")(x)[:5], (network(x) - f + run.biases[0])[:5], atol=1e-3
        )
        f = f + h
        np.testing.assert_allclose(boosted_part(run, t + 1)(x), f, atol=1e-3)
    np.testing.assert_allclose(network(x), f, atol=1e-3)
    np.testing.assert_allclose(run.loss[8], cross_entropy(f, s.y_train), atol=1e-4)
    assert (np.diff(run.loss) < 0).all()


def test_a_component_fits_the_residuals_at_the_sum_before_it(cancer):
    s, run = cancer
    residual = lambda f: jax.nn.one_hot(s.y_train, 2) - jax.nn.softmax(f)
    for t in (0, 3):
        before, after = (boosted_part(run, k)(s.x_train) for k in (t, t + 1))
        h = (after - before) / (0.5 * run.rho[t])
        now, start = residual(before), residual(boosted_part(run, 0)(s.x_train))
        assert ((now - h) ** 2).mean() < 0.8 * (now**2).mean()
        if t:
            assert ((now - h) ** 2).mean() < 0.5 * ((start - h) ** 2).mean()


def test_without_refreshing_every_component_aims_at_the_first_residuals():
    s = split(*table("diabetes"), 300, seed=0)
    boost = jax.jit(
        lambda refresh: sgd_boost(
            jax.random.key(1),
            s.x_train,
            s.y_train,
            squared,
            out=1,
            units=2,
            steps=3,
            shrinkage=1.0,
            refresh=refresh,
        )
    )
    run = boost(0.0)
    start = s.y_train - float(run.biases[0, 0])
    for t in (0, 2):
        before, after = (boosted_part(run, k)(s.x_train)[:, 0] for k in (t, t + 1))
        assert np.corrcoef((after - before) * np.sign(run.rho[t]), start)[0, 1] > 0.6
    # With a full step of the exact line search the new residual has nothing left of the component.
    run = boost(1.0)
    before, after = (boosted_part(run, k)(s.x_train)[:, 0] for k in (1, 2))
    assert abs(np.dot(s.y_train - after, after - before)) < 1e-3 * np.linalg.norm(s.y_train) * np.linalg.norm(
        after - before
    )


def test_it_is_as_good_as_trees(cancer):
    s, run = cancer
    trees = GradientBoostingClassifier(random_state=0).fit(s.x_train, s.y_train)
    ours = (np.asarray(run.network(s.x_test)).argmax(1) == s.y_test).mean()
    assert ours >= trees.score(s.x_test, s.y_test) - 0.02
    d = split(*table("diabetes"), 300, seed=0)
    run = sgd_boost(jax.random.key(0), d.x_train, d.y_train, squared, out=1, units=1, steps=8, shrinkage=0.3)
    trees = GradientBoostingRegressor(random_state=0).fit(d.x_train, d.y_train)
    np.testing.assert_allclose(run.biases[0, 0], trees.init_.constant_[0, 0], atol=1e-5)
    r2 = (
        1
        - ((np.asarray(run.network(d.x_test))[:, 0] - d.y_test) ** 2).sum()
        / ((d.y_test - d.y_test.mean()) ** 2).sum()
    )
    assert r2 >= trees.score(d.x_test, d.y_test) - 0.03
