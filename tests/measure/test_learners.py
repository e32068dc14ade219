"""The reference learners against scikit-learn, numpy and closed forms; the match against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import DotProduct
from sklearn.linear_model import LinearRegression, Ridge
from sklearn.neighbors import KNeighborsRegressor

from armillary.measure import (
    algorithm_match,
    bayes_optimal,
    gradient_descent,
    gradient_descent_path,
    iterations_at,
    iterative_newton,
    least_squares,
    match_iterations,
    nearest_neighbours,
    newton_schulz_path,
    ridge,
)


def prompt(length, dim=4, queries=6, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(
        rng.normal(size=shape).astype(np.float32) for shape in ((length, dim), length, (queries, dim))
    )


@pytest.mark.parametrize("length", [1, 3, 4, 12])
@pytest.mark.parametrize(
    ("learner", "peer"),
    [
        (least_squares, LinearRegression(fit_intercept=False)),
        (ridge(0.3), Ridge(alpha=0.3, fit_intercept=False)),
        (bayes_optimal(jnp.full(4, 2.0), 0.6), Ridge(alpha=0.3, fit_intercept=False)),
        (nearest_neighbours(1), KNeighborsRegressor(1)),
    ],
)
def test_learners_are_scikit_learn_s(learner, peer, length):
    x, y, query = prompt(length)
    expected = peer.fit(x, y).predict(query)
    np.testing.assert_allclose(jax.jit(learner)(x, y, query), expected, rtol=2e-3, atol=2e-4)


def test_three_neighbours():
    x, y, query = prompt(12)
    expected = KNeighborsRegressor(3).fit(x, y).predict(query)
    np.testing.assert_allclose(nearest_neighbours(3)(x, y, query), expected, rtol=1e-5)
    with pytest.raises(ValueError, match=r"nearest_neighbours\(13\): count must be 1 to 12"):
        nearest_neighbours(13)(x, y, query)


@pytest.mark.parametrize("length", [3, 9])
def test_bayes_is_a_gaussian_process_with_the_prior_s_kernel(length):
    x, y, query = prompt(length)
    root = np.random.default_rng(1).normal(size=(4, 4))
    prior = root @ root.T
    # In the coordinates prior^½ x the prior is the identity, and the kernel is the inner product.
    process = GaussianProcessRegressor(DotProduct(0, "fixed"), alpha=0.5, optimizer=None)
    expected = process.fit(x @ root, y).predict(query @ root)
    found = bayes_optimal(jnp.array(prior, jnp.float32), 0.5)(x, y, query)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_least_squares_of_minimum_norm_with_dependent_examples():
    x, y, query = prompt(6)
    x[3:] = 0.0  # a short prompt, padded
    y[3:] = 0.0
    found = least_squares(x, y, query)
    np.testing.assert_allclose(found, query @ np.linalg.pinv(x[:3]) @ y[:3], rtol=1e-3, atol=1e-5)


def test_gradient_descent_is_what_autodiff_descends():
    x, y, query = prompt(9)
    rates, precondition = (0.3, 0.1, 0.2), np.diag([1.0, 2.0, 0.5, 1.5]) + 0.1
    objective = lambda w: 0.5 * jnp.mean((x @ w - y) ** 2)
    w, seen = jnp.zeros(4), [jnp.zeros(6)]
    for rate in rates:
        w = w - rate * precondition @ jax.grad(objective)(w)
        seen.append(query @ w)
    learner = lambda path: gradient_descent(3, jnp.array(rates), preconditioner=precondition, path=path)
    np.testing.assert_allclose(learner(True)(x, y, query), seen, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(learner(False)(x, y, query), seen[-1], rtol=1e-4, atol=1e-6)


def test_gradient_descent_s_residual_is_a_power():
    x, y, _ = prompt(9)
    s, b = x.T @ x / 9, x.T @ y / 9
    path = gradient_descent_path(jnp.array(s), jnp.array(b), 5, 0.3)
    exact = np.linalg.solve(s, b)
    for k, w in enumerate(path):
        expected = np.linalg.matrix_power(np.eye(4) - 0.3 * s, k) @ exact
        np.testing.assert_allclose(exact - w, expected, rtol=1e-3, atol=1e-5)


def test_gd_plus_plus_moves_the_tokens_as_the_paper_does():
    x, y, query = (a.astype(np.float64) for a in prompt(9))
    rates, curvatures = (0.3, 0.2, 0.25), (0.2, 0.1, 0.0)
    tokens, response = np.r_[x, query], np.r_[y, np.zeros(6)]
    for eta, gamma in zip(rates, curvatures):
        seen, left = tokens[:9], response[:9]
        response = response - eta / 9 * tokens @ seen.T @ left
        tokens = tokens - gamma / 9 * tokens @ seen.T @ seen
    learner = gradient_descent(3, jnp.array(rates), curvature=jnp.array(curvatures))
    found = learner(*(a.astype(np.float32) for a in (x, y, query)))
    np.testing.assert_allclose(found, -response[9:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scale", [None, 0.05])
def test_newton_s_residual_is_a_power_of_two(scale):
    x, y, query = prompt(9)
    s, b = x.T @ x / 9, x.T @ y / 9
    path = newton_schulz_path(jnp.array(s), jnp.array(b), 4, scale=scale)
    exact = np.linalg.solve(s, b)
    a = 1 / np.linalg.norm(s @ s) if scale is None else scale
    for k, w in enumerate(path):
        expected = np.linalg.matrix_power(np.eye(4) - a * s @ s, 2**k) @ exact
        np.testing.assert_allclose(exact - w, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(iterative_newton(4, scale=scale)(x, y, query), path[-1] @ query.T, rtol=1e-4)
    found = iterative_newton(4, scale=scale, path=True)(x, y, query)
    np.testing.assert_allclose(found, path @ query.T, rtol=1e-4)


@pytest.mark.parametrize("length", [1, 9])
def test_newton_ends_at_least_squares(length):
    x, y, query = prompt(length)
    found = iterative_newton(14)(x, y, query)
    np.testing.assert_allclose(found, least_squares(x, y, query), rtol=5e-3, atol=1e-3)


def test_the_match_against_a_loop():
    rng = np.random.default_rng(3)
    x, y, query, target = (
        rng.normal(size=s).astype(np.float32) for s in ((5, 8, 3), (5, 8), (5, 4, 3), (5, 4))
    )
    bent = lambda x, y, query: jnp.sin(query @ (x.T @ y) / 8)
    models = [bent, gradient_descent(2, 0.2, path=True)]
    references = [least_squares, ridge(1.0), nearest_neighbours(3)]
    found = jax.jit(lambda *prompts: algorithm_match(models, references, *prompts))(x, y, query, target)
    assert found.prediction_difference.shape == (4, 3)
    weights = np.einsum("pnd,pn->pd", x, y) / 8
    a = np.sin(np.einsum("pqd,pd->pq", query, weights))
    slope_a = np.cos(np.einsum("pqd,pd->pq", query, weights))[..., None] * weights[:, None]
    linear = [Ridge(alpha=1.0, fit_intercept=False).fit(*example).coef_ for example in zip(x, y)]
    b = np.einsum("pqd,pd->pq", query, linear)
    cell = lambda name: getattr(found, name)[0, 1]
    np.testing.assert_allclose(cell("prediction_difference"), np.mean((a - b) ** 2), rtol=1e-4)
    implied = [np.linalg.lstsq(q, p, rcond=None)[0] for q, p in zip(query, a)]
    np.testing.assert_allclose(
        cell("weight_difference"), np.mean(np.sum((np.array(implied) - linear) ** 2, -1)), rtol=1e-3
    )
    cosines = [s @ w / np.linalg.norm(s) / np.linalg.norm(w) for p, w in zip(slope_a, linear) for s in p]
    np.testing.assert_allclose(cell("sensitivity_cosine"), np.mean(cosines), rtol=1e-4)
    errors = (a - target).ravel(), (b - target).ravel()
    np.testing.assert_allclose(
        cell("error_cosine"), errors[0] @ errors[1] / np.prod([np.linalg.norm(e) for e in errors]), rtol=1e-4
    )
    np.testing.assert_allclose(
        cell("loss_ratio"), np.mean(errors[0] ** 2) / np.mean(errors[1] ** 2), rtol=1e-4
    )
    # No gradient reaches the query through the neighbours, and zero steps predict zero: cosine 0, not NaN.
    assert found.sensitivity_cosine[0, 2] == 0
    assert found.sensitivity_cosine[1, 1] == 0


def test_a_model_is_itself_and_no_other():
    rng = np.random.default_rng(4)
    prompts = [rng.normal(size=s).astype(np.float32) for s in ((30, 6, 3), (30, 6), (30, 5, 3), (30, 5))]
    references = [ridge(0.1), ridge(1.0), ridge(10.0), least_squares]
    found = algorithm_match(references, references, *prompts)
    np.testing.assert_allclose(np.diag(found.prediction_difference), 0, atol=1e-8)
    np.testing.assert_allclose(np.diag(found.sensitivity_cosine), 1, atol=1e-5)
    np.testing.assert_allclose(np.diag(found.error_cosine), 1, atol=1e-5)
    assert (found.prediction_difference + np.eye(4)).min() > 1e-4
    np.testing.assert_allclose(found.weight_difference, found.weight_difference.T, rtol=1e-4)


def test_too_few_queries_are_refused():
    with pytest.raises(ValueError, match="2 queries a prompt do not fix the 3 implied weights"):
        algorithm_match(
            least_squares,
            ridge(1.0),
            jnp.ones((1, 4, 3)),
            jnp.ones((1, 4)),
            jnp.ones((1, 2, 3)),
            jnp.ones((1, 2)),
        )


def test_a_batch_of_prompts_needs_no_batched_decomposition():
    """See `armillary.measure.eigen`."""
    learners = [least_squares, ridge(0.5), bayes_optimal(jnp.eye(3) + 0.5, 0.5)]
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((5, 6, 3), (5, 6), (5, 4, 3), (5, 4))]
    program = jax.jit(lambda *prompts: algorithm_match(learners, learners, *prompts)).lower(*shapes).as_text()
    assert "lapack" in program
    assert 'num_batch_dims = "1"' not in program


def test_counting_iterations():
    path = jnp.array([8.0, 4.0, 1.0, 0.5])
    found = iterations_at(jnp.array([8.0, 2.0, 0.5, 9.0, 0.4]), path)
    np.testing.assert_allclose(found, [0, 1.5, 3, 0, np.inf], rtol=1e-6)


def test_a_solver_s_iterations_match_themselves():
    rng = np.random.default_rng(5)
    x, task, query = (rng.normal(size=s).astype(np.float32) for s in ((50, 9, 3), (50, 3), (50, 4, 3)))
    y, target = np.einsum("pnd,pd->pn", x, task), np.einsum("pqd,pd->pq", query, task)
    models = [gradient_descent(2, 0.3), iterative_newton(3)]
    paths = gradient_descent(6, 0.3, path=True), iterative_newton(6, path=True)
    for i, (path, count) in enumerate(zip(paths, (2, 3))):
        found = match_iterations(algorithm_match(models, path, x, y, query, target))
        np.testing.assert_allclose(found.by_loss[i], count, atol=1e-3)
        assert found.by_error[i] == count
