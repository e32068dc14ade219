import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression

from armillary.represent import fit_supervised_dictionary


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 6)) * np.array([3, 2, 1, 0.5, 0.5, 0.5])
    x = x - x.mean(0)
    return x, (x[:, 2] + 0.3 * rng.logistic(size=400) > 0).astype(float), np.ones((400, 1))


def fitted(data, xi):
    x, y, ones = (jnp.array(a, jnp.float32) for a in data)
    return fit_supervised_dictionary(jax.random.key(0), x, y, ones, rank=2, xi=xi, ridge=1e-3, steps=3000)


def test_reconstruction_alone_gives_principal_components(data):
    basis = np.asarray(fitted(data, 100.0).orthonormal())
    components = PCA(2).fit(data[0]).components_
    np.testing.assert_allclose(basis @ basis.T, components.T @ components, atol=1e-2)


def test_prediction_alone_gives_logistic_regression(data):
    model = fitted(data, 0.0)
    x, y, ones = data
    fit = LogisticRegression(C=1 / (2e-3 * len(x)), fit_intercept=False, tol=1e-8)
    fit.fit(np.concatenate([x, ones], 1), y)
    found = np.append(model.orthonormal() @ model.weights, model.covariate_weights)
    np.testing.assert_allclose(found, fit.coef_[0], rtol=0.02, atol=0.02)
