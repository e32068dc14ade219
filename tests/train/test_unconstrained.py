import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.linear_model import Ridge

from armillary.measure import class_scatter
from armillary.train import central_path, features_near, fit, ridge_classifier

LABELS = jnp.repeat(jnp.arange(3), 8)
TARGETS = jax.nn.one_hot(LABELS, 3)


@pytest.fixture
def start():
    k_means, k_noise = jax.random.split(jax.random.key(0))
    return jax.random.normal(k_means, (3, 5))[LABELS] + jax.random.normal(k_noise, (24, 5))


def test_ridge_classifier_is_scikit_learns(start):
    expected = Ridge(alpha=0.3, fit_intercept=False).fit(start, TARGETS).coef_
    np.testing.assert_allclose(ridge_classifier(start, TARGETS, 0.3), expected, atol=1e-4)


def test_central_path_is_the_gradient_of_the_objective_at_the_best_classifier(start):
    # By the envelope theorem the objective minimized over W has the same derivative.
    def least(features):
        w = jnp.linalg.solve(features.T @ features + 0.3 * jnp.eye(5), features.T @ TARGETS).T
        fit, away = features @ w.T - TARGETS, features - start
        return jnp.sum(fit**2) / 2 + 0.3 * jnp.sum(w**2) / 2 + 0.2 * jnp.sum(away**2) / 2

    features = start + 0.1
    value, gradient = central_path(0.3, 0.2, start)(features, TARGETS)
    np.testing.assert_allclose(gradient, jax.grad(least)(features), atol=1e-4)
    assert value < least(features)


def test_features_near_is_where_joint_descent_ends_and_contracts_as_it_says(start):
    def loss(both, targets):
        w, features = both
        fit, away = features @ w.T - targets, features - start
        return jnp.sum(fit**2) / 2 + 0.3 * jnp.sum(w**2) / 2 + 0.5 * jnp.sum(away**2) / 2

    end = features_near(start, TARGETS, 0.3, 0.5, rounds=500)
    descended = fit(loss, (jnp.zeros((3, 5)), start), TARGETS, optax.sgd(0.02), steps=5000).params
    np.testing.assert_allclose(end.classifier, descended[0], atol=2e-3)
    np.testing.assert_allclose(end.features, descended[1], atol=2e-3)
    before, after = (class_scatter(h, LABELS, 3).within for h in (start, end.features))
    np.testing.assert_allclose(after, end.contraction @ before @ end.contraction, atol=1e-4)
    assert jnp.trace(after) < 0.9 * jnp.trace(before)
