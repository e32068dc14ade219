import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import linear_regression_prompts, regression_moments


def test_moments_are_those_asked_for():
    root = np.array([[1.0, 0, 0], [0.5, 0.8, 0], [-0.3, 0.2, 0.6]])
    covariance, tasks = root @ root.T, jnp.array([2.0, 1.0, 0.5])
    found = linear_regression_prompts(
        jax.random.key(0), 20_000, 4, jnp.array(covariance), task_covariance=tasks, noise=0.3, queries=2
    )
    x = found.x.reshape(-1, 3)
    np.testing.assert_allclose(x.T @ x / len(x), covariance, atol=0.02)
    np.testing.assert_allclose(found.task.T @ found.task / 20_000, np.diag(tasks), atol=0.06)
    clean = jnp.einsum("pnd,pd->pn", found.x, found.task)
    np.testing.assert_allclose(jnp.var(found.y - clean), 0.3, rtol=0.02)
    clean = jnp.einsum("pnd,pd->pn", found.query, found.task)
    np.testing.assert_allclose(jnp.var(found.target - clean), 0.3, rtol=0.03)
    assert found.query.shape == (20_000, 2, 3)


def test_the_link_is_applied_before_the_noise():
    found = linear_regression_prompts(jax.random.key(1), 5, 6, jnp.ones(2), link=jax.nn.relu)
    expected = np.maximum(np.einsum("pnd,pd->pn", found.x, found.task), 0)
    np.testing.assert_allclose(found.y, expected, atol=1e-5)


def test_prompts_differ_and_are_repeatable():
    a, b = (linear_regression_prompts(jax.random.key(2), 3, 4, jnp.ones(2)) for _ in range(2))
    np.testing.assert_array_equal(a.y, b.y)
    assert len(np.unique(a.task)) == 6


def test_moments_have_the_law_of_the_prompts_moments():
    """Wishart: E S = Λ and E SΛ⁻¹S = (1 + (d + 1)/n) Λ."""
    covariance = jnp.array([[1.0, 0.3], [0.3, 0.5]])
    found = regression_moments(jax.random.key(0), 50_000, 8, covariance)
    moment = np.asarray(found.second_moment, np.float64)
    np.testing.assert_allclose(moment.mean(0), covariance, atol=0.01)
    square = np.einsum("bij,jk,bkl->il", moment, np.linalg.inv(covariance), moment) / len(moment)
    np.testing.assert_allclose(square, (1 + 3 / 8) * covariance, atol=0.02)
    np.testing.assert_allclose(found.covariance, covariance[None], rtol=1e-6)


def test_rotations_are_uniform_and_every_prompt_has_its_own():
    spectrum = jnp.array([1.0, 0.5, 0.1])
    found = regression_moments(jax.random.key(1), 40_000, 500, spectrum, rotate=True)
    np.testing.assert_allclose(np.linalg.eigvalsh(found.covariance[:50]), [[0.1, 0.5, 1.0]] * 50, atol=1e-5)
    # Over the orthogonal group E Λᵢⱼ² = (Σλ² - (Σλ)²/d) / ((d - 1)(d + 2)) for i ≠ j (Weingarten).
    d, total, squares = 3, 1.6, 1.26
    off = (squares - total**2 / d) / ((d - 1) * (d + 2))
    entries = np.asarray(found.covariance)
    np.testing.assert_allclose(entries.mean(0), np.eye(3) * total / d, atol=0.01)
    np.testing.assert_allclose((entries**2).mean(0)[~np.eye(3, dtype=bool)], off, rtol=0.03)
    np.testing.assert_allclose(
        (entries**2).mean(0)[np.eye(3, dtype=bool)], (squares - 2 * 3 * off) / 3, rtol=0.03
    )
    np.testing.assert_allclose(found.second_moment[:200], found.covariance[:200], atol=0.35)


def test_normalized_inputs_have_mean_square_one():
    """W/tr W is independent of tr W ~ χ² with nd degrees, so that E tr (dW/tr W)² = d²(n + d + 1)/(nd + 2)."""
    d, n = 3, 4
    found = regression_moments(jax.random.key(2), 50_000, n, jnp.full(d, 7.0), normalize=True)
    moment = np.asarray(found.second_moment, np.float64)
    np.testing.assert_allclose(np.trace(moment, axis1=1, axis2=2), d, rtol=1e-5)
    np.testing.assert_allclose((moment**2).sum((1, 2)).mean(), d**2 * (n + d + 1) / (n * d + 2), rtol=0.01)
    # The queries are scaled with the examples: Λ·nd/χ², whose mean is Λ·nd/(nd - 2).
    expected = np.eye(d) * n * d / (n * d - 2)
    np.testing.assert_allclose(found.covariance.mean(0), expected, atol=0.01)
