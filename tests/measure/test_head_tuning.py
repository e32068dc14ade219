import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from armillary.measure import head_tuning_risk, isotropic_double_descent


@pytest.mark.parametrize("ridge", [False, True])
def test_heads_are_scikit_learns(ridge):
    rng = np.random.default_rng(0)
    x, queries = rng.normal(size=(12, 30)), rng.normal(size=(50, 30))
    y, answers = rng.normal(size=12), rng.normal(size=50)
    sizes, penalties = (0, 3, 11, 12, 30), np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    with jax.enable_x64(True):
        found = head_tuning_risk(
            *map(jnp.array, (x, y, queries, answers)),
            sizes,
            penalties=jnp.array(penalties) if ridge else 0.0,
        )
    for size, penalty, risk in zip(sizes, penalties, found):
        predicted = np.zeros(50)
        if size:
            model = (
                Ridge(alpha=penalty, fit_intercept=False) if ridge else LinearRegression(fit_intercept=False)
            )
            predicted = model.fit(x[:, :size], y).predict(queries[:, :size])
        np.testing.assert_allclose(risk, np.mean((predicted - answers) ** 2), rtol=1e-6)


def test_the_closed_form_is_what_gaussian_features_give():
    n, count, signal, noise, sizes = 20, 60, 2.0, 0.5, (0, 5, 12, 32, 60)

    def one(key):
        k_x, k_w, k_e = jax.random.split(key, 3)
        x = jax.random.normal(k_x, (n + 100, count))
        w = jax.random.normal(k_w, (count,))
        y = x @ w * jnp.sqrt(signal) / jnp.linalg.norm(w) + jnp.sqrt(noise) * jax.random.normal(
            k_e, (n + 100,)
        )
        return head_tuning_risk(x[:n], y[:n], x[n:], y[n:], sizes)

    risks = jax.vmap(one)(jax.random.split(jax.random.key(0), 400))
    error = 4 * risks.std(0) / 20
    theory = isotropic_double_descent(sizes, n, count, signal, noise)
    assert np.all(abs(risks.mean(0) - theory) < error), (risks.mean(0), theory, error)
    assert np.all(error < 0.2 * theory)
    assert np.all(np.isinf(isotropic_double_descent((19, 20, 21), n, count, signal, noise)))
