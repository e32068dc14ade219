"""The attention SVM against general-purpose solvers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize
from sklearn.svm import SVC

from armillary.data import unit_sphere
from armillary.measure import attention_svm, nuclear_norm, singular_values, token_margin

INPUTS, TOKENS, DIM = 3, 4, 5


def problem(seed):
    x = np.asarray(unit_sphere(jax.random.key(seed), DIM, INPUTS, TOKENS), np.float64)
    selected = np.random.default_rng(seed).integers(TOKENS, size=INPUTS)
    others = [[t for t in range(TOKENS) if t != s] for s in selected]
    constraints = np.stack(
        [np.outer(x[i, s] - x[i, t], x[i, 0]) for i, s in enumerate(selected) for t in others[i]]
    )
    return x, selected, constraints


@pytest.mark.parametrize("seed", [0, 1])
def test_frobenius_is_a_support_vector_machine_through_the_origin(seed):
    x, selected, constraints = problem(seed)
    with jax.enable_x64(True):
        found = attention_svm(jnp.array(x), jnp.array(x[:, 0]), jnp.array(selected))
    # the constraints and their mirror images are two classes whose separating plane passes through the origin
    points = np.concatenate([constraints, -constraints]).reshape(-1, DIM * DIM)
    svc = SVC(kernel="linear", C=1e6, tol=1e-8).fit(points, np.repeat([1, -1], len(constraints)))
    np.testing.assert_allclose(found.weights, svc.coef_.reshape(DIM, DIM), atol=1e-3)
    assert float(found.gap) < 1e-6
    np.testing.assert_allclose(found.norm, np.linalg.norm(found.weights))


@pytest.mark.parametrize("seed", [0, 1])
def test_nuclear_by_descent_on_factors(seed):
    x, selected, constraints = problem(seed)
    with jax.enable_x64(True):
        found = attention_svm(jnp.array(x), jnp.array(x[:, 0]), jnp.array(selected), norm="nuclear")
    # the nuclear norm of W is the least ½(‖K‖² + ‖Q‖²) over W = KQᵀ; full-size factors leave no bad minima
    split = lambda f: f.reshape(2, DIM, DIM)
    margins = lambda f: np.einsum("jab,ac,bc->j", constraints, *split(f)) - 1
    both = lambda f: (
        np.einsum("jab,bc->jac", constraints, split(f)[1]),
        np.einsum("jab,ac->jbc", constraints, split(f)[0]),
    )
    jacobian = lambda f: np.stack(both(f), 1).reshape(len(constraints), -1)
    start = np.random.default_rng(0).normal(size=2 * DIM * DIM)
    solution = minimize(
        lambda f: (f @ f / 2, f),
        start,
        jac=True,
        method="SLSQP",
        constraints={"type": "ineq", "fun": margins, "jac": jacobian},
        options={"maxiter": 2000, "ftol": 1e-12},
    )
    assert solution.success
    np.testing.assert_allclose(found.norm, solution.fun, rtol=2e-3)
    assert float(found.gap) < 1e-3
    weights = np.asarray(found.weights)
    assert np.einsum("jab,ab->j", constraints, weights).min() == pytest.approx(1)


def test_one_constraint_in_closed_form():
    # min ‖W‖ with ⟨A, W⟩ ≥ 1 and A of rank one is A/‖A‖², whichever the norm
    tokens = jnp.array([[[1.0, 0, 0], [0, 2.0, 0]]])
    query = jnp.array([[0.0, 0, 3]])
    a = np.outer([1, -2, 0], query[0])
    for norm in ("frobenius", "nuclear"):
        found = attention_svm(tokens, query, jnp.array([0]), norm=norm)
        np.testing.assert_allclose(found.weights, a / np.sum(a**2), rtol=1e-3, atol=1e-6)
    with pytest.raises(ValueError, match="must be 'frobenius' or 'nuclear'"):
        attention_svm(tokens, query, jnp.array([0]), norm="spectral")


def test_what_is_selected_and_how_firmly():
    x, _, _ = problem(3)
    w = np.random.default_rng(0).normal(size=(DIM, DIM))
    found = token_margin(jnp.array(w), jnp.array(x), jnp.array(x[:, 0]))
    for i in range(INPUTS):
        logits = [t @ w @ x[i, 0] for t in x[i]]
        assert found.selected[i] == np.argmax(logits)
        np.testing.assert_allclose(found.margin[i], np.subtract(*np.sort(logits)[:-3:-1]), rtol=1e-4)


def test_singular_values_and_their_sum():
    w = np.random.default_rng(0).normal(size=(2, 4, 3))
    wanted = np.linalg.svd(w)[1]
    np.testing.assert_allclose(jax.vmap(singular_values)(jnp.array(w)), wanted, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(nuclear_norm)(jnp.array(w)), wanted.sum(1), rtol=1e-5)
