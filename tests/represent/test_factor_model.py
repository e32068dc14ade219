import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA

from armillary.represent import pretrain_factor_model


@pytest.fixture
def wine():
    x = load_wine().data
    return (x - x.mean(0)) / x.std(0)


def test_likelihood_is_that_of_sklearn(wine):
    """scikit-learn's PCA scores by the same model; it divides the covariance by n − 1."""
    n = len(wine)
    model = pretrain_factor_model(jnp.array(wine, jnp.float32), 4)
    found = np.asarray(model.loadings @ model.loadings.T + model.noise * np.eye(13), float)
    expected = PCA(4).fit(wine).get_covariance() * (n - 1) / n
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_posterior_mean_by_conditioning_a_gaussian(wine):
    model = pretrain_factor_model(jnp.array(wine, jnp.float32), 3)
    b = np.asarray(model.loadings, float)
    covariance = b @ b.T + float(model.noise) * np.eye(13)
    expected = wine @ np.linalg.solve(covariance, b)
    np.testing.assert_allclose(model(jnp.array(wine)), expected, atol=2e-5)


@pytest.mark.parametrize("factors", [0, 13])
def test_the_number_of_factors_is_checked(wine, factors):
    with pytest.raises(ValueError, match=f"factors={factors} must lie between 1 and 12"):
        pretrain_factor_model(jnp.array(wine), factors)
