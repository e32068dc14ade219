"""The penalty of scikit-learn's ridge regressions, found again."""

import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.linear_model import Ridge

from armillary.measure import implicit_ridge_penalty

GRID = 2.0 ** jnp.linspace(-6, 6, 25)


def prompts():
    rng = np.random.default_rng(0)
    x, query = rng.normal(size=(60, 5, 3)), rng.normal(size=(60, 2, 3))
    y = x @ rng.normal(size=(60, 3, 1)) + 0.5 * rng.normal(size=(60, 5, 1))
    return x, y[..., 0], query


def predict(x, y, query, penalty):
    fits = [Ridge(alpha=penalty, fit_intercept=False).fit(a, b) for a, b in zip(x, y)]
    return np.stack([f.predict(q) for f, q in zip(fits, query)])


@pytest.mark.parametrize("penalty", [0.1, 0.25, 1.7])
def test_a_ridge_regression_has_its_own(penalty):
    x, y, query = prompts()
    found = implicit_ridge_penalty(predict(x, y, query, penalty), x, y, query, GRID)
    np.testing.assert_allclose(found.penalty, penalty, rtol=0.05)
    expected = np.mean((predict(x, y, query, float(GRID[7])) - predict(x, y, query, penalty)) ** 2)
    np.testing.assert_allclose(found.difference[7], expected, rtol=1e-3)


def test_short_prompts_are_filled_up_with_zeros():
    x, y, query = prompts()
    padded = [np.concatenate([a[:, :3], np.zeros_like(a[:, 3:])], 1) for a in (x, y)]
    predictions = predict(x[:, :3], y[:, :3], query, 0.7)
    np.testing.assert_allclose(
        implicit_ridge_penalty(predictions, *padded, query, GRID).penalty, 0.7, rtol=0.05
    )


def test_what_lies_beyond_the_grid_is_its_end():
    x, y, query = prompts()
    for penalty, end in ((1e-4, 0), (1e4, -1)):
        found = implicit_ridge_penalty(predict(x, y, query, penalty), x, y, query, GRID)
        assert found.penalty == GRID[end]
