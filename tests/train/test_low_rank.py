import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from armillary.train import low_rank, low_rank_projected_gradient, supervised_dictionary_loss


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    x, covariates = (
        rng.standard_normal((5, 60)) * np.array([[3, 2, 1, 1, 0.5]]).T,
        rng.standard_normal((2, 60)),
    )
    labels = (x[2] + covariates[0] + rng.logistic(size=60) > 0).astype(float)
    return x, labels, covariates


def solve(data, rank, xi, ridge, steps):
    x, labels, covariates = data
    loss = lambda p: supervised_dictionary_loss(p, x, labels, covariates, xi=xi, ridge=ridge)
    start = {"lifted": jnp.zeros((5, 61)), "covariates": jnp.zeros(2)}
    put = lambda p, lifted: {**p, "lifted": lifted}
    smooth = np.linalg.eigvalsh(np.concatenate([x, covariates]) @ np.concatenate([x, covariates]).T)[-1] / 4
    end, path = low_rank_projected_gradient(
        jax.grad(loss), start, matrix=lambda p: p["lifted"], replace=put, rank=rank,
        rate=1 / max(2 * xi, smooth + 2 * ridge), steps=steps, record=loss,
    )  # fmt: skip
    return end, path


def test_truncation_is_that_of_the_singular_value_decomposition():
    x = np.random.default_rng(1).standard_normal((6, 9))
    u, s, v = np.linalg.svd(x, full_matrices=False)
    with jax.enable_x64(True):
        np.testing.assert_allclose(low_rank(jnp.array(x), 2), u[:, :2] * s[:2] @ v[:2], atol=1e-10)


def test_without_a_bound_on_the_rank_it_is_logistic_regression(data):
    x, labels, covariates = data
    with jax.enable_x64(True):
        end, path = solve(data, 5, xi=20.0, ridge=0.7, steps=3000)
    fit = LogisticRegression(C=1 / 1.4, fit_intercept=False, tol=1e-10).fit(
        np.concatenate([x, covariates]).T, labels
    )
    np.testing.assert_allclose(np.append(end["lifted"][:, 0], end["covariates"]), fit.coef_[0], atol=1e-4)
    np.testing.assert_allclose(end["lifted"][:, 1:], x, atol=1e-6)
    assert np.all(np.diff(path) <= 1e-9)


def test_bounded_rank_stays_bounded_and_is_a_stationary_point(data):
    with jax.enable_x64(True):
        end, _ = solve(data, 2, xi=20.0, ridge=20.0, steps=2000)
        again, _ = solve(data, 2, xi=20.0, ridge=20.0, steps=2001)
    assert np.linalg.matrix_rank(end["lifted"], tol=1e-8) == 2
    np.testing.assert_allclose(end["lifted"], again["lifted"], atol=1e-9)
