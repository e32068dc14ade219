import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse.linalg

from armillary.measure import hessian_operator, lanczos, largest_eigenvalues, ritz, tridiagonal
from armillary.nn import MLP


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues, in float32, and its eigenvectors as columns."""
    values = np.asarray(eigenvalues, float)
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(values), len(values))))[0]
    return lx.MatrixLinearOperator(jnp.asarray(q @ np.diag(values) @ q.T, jnp.float32), lx.symmetric_tag), q


def start(size, seed=0):
    return jax.random.normal(jax.random.key(seed), (size,))


def test_recurrence_and_orthogonality():
    operator, _ = symmetric(np.linspace(-3, 5, 80))
    run = jax.jit(lambda v: lanczos(operator, v, 60))(start(80))
    basis = np.asarray(run.basis, float)
    np.testing.assert_allclose(basis @ basis.T, np.eye(60), atol=2e-6)
    residual = np.asarray(operator.matrix) @ basis.T - basis.T @ np.asarray(tridiagonal(run))
    np.testing.assert_allclose(residual[:, :-1], 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(residual[:, -1]), run.betas[-1], atol=1e-5)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.linspace(-3, 5, 30),
        [2.0] * 12,
        [0.0] * 5,
        [4.0] * 3 + [1.0] * 5 + [-2.0] * 4,
        [7.0] + [0.0] * 20,
        [3.0],
    ],
    ids=["distinct", "identity", "zero", "repeated", "rank one", "scalar"],
)
def test_all_steps_give_the_whole_spectrum(eigenvalues):
    operator, _ = symmetric(eigenvalues)
    size = len(eigenvalues)
    got = ritz(lanczos(operator, start(size), size)).values
    np.testing.assert_allclose(got, np.sort(eigenvalues)[::-1], atol=3e-6)


def test_exactly_invariant_start_goes_on():
    operator = lx.DiagonalLinearOperator(jnp.array([1.0, 5.0, 2.0, 4.0]))
    run = lanczos(operator, jnp.array([0.0, 1.0, 0.0, 0.0]), 4)
    np.testing.assert_allclose(run.betas[0], 0)
    np.testing.assert_allclose(ritz(run).values, [5, 4, 2, 1], atol=1e-6)


def test_largest_eigenvalues_against_arpack():
    wishart = np.random.default_rng(1).normal(size=(300, 400))
    matrix = wishart @ wishart.T / 400
    operator = lx.MatrixLinearOperator(jnp.asarray(matrix, jnp.float32), lx.symmetric_tag)
    pairs = jax.jit(lambda k: largest_eigenvalues(operator, 4, key=k, steps=80))(jax.random.key(0))
    expected = scipy.sparse.linalg.eigsh(matrix, 4, which="LA")[0][::-1]
    np.testing.assert_allclose(pairs.values, expected, rtol=1e-4)
    direct = np.linalg.norm(
        matrix @ np.asarray(pairs.vectors, float).T - pairs.vectors.T * pairs.values, axis=0
    )
    np.testing.assert_allclose(pairs.residuals, direct, atol=1e-5)


def test_residuals_bound_the_error_before_convergence():
    values = np.linspace(0, 1, 200) ** 2
    operator, _ = symmetric(values)
    pairs = largest_eigenvalues(operator, 3, key=jax.random.key(0), steps=12)
    distance = np.abs(np.asarray(pairs.values)[:, None] - values).min(1)
    assert (distance <= np.asarray(pairs.residuals) + 1e-6).all()
    assert (pairs.residuals > 1e-4).all()


def test_sharpness_of_networks_under_vmap():
    x = jax.random.normal(jax.random.key(1), (20, 3))
    loss = lambda net, batch: ((net(batch) - 1.0) ** 2).mean()

    def sharpness(key):
        net = MLP((3, 6, 1), key, activation=jnp.tanh)
        return largest_eigenvalues(hessian_operator(loss, net, x), 2, key=key, steps=25).values

    def expected(key):
        net = MLP((3, 6, 1), key, activation=jnp.tanh)
        flat, unravel = jax.flatten_util.ravel_pytree(eqx.filter(net, eqx.is_inexact_array))
        rest = eqx.filter(net, eqx.is_inexact_array, inverse=True)
        hessian = jax.hessian(lambda f: loss(eqx.combine(unravel(f), rest), x))(flat)
        return np.linalg.eigvalsh(hessian)[::-1][:2]

    keys = jax.random.split(jax.random.key(2), 3)
    np.testing.assert_allclose(jax.jit(jax.vmap(sharpness))(keys), [expected(k) for k in keys], rtol=1e-4)


def test_bad_arguments():
    operator, _ = symmetric([1.0, 2.0])
    with pytest.raises(ValueError, match="steps=3"):
        lanczos(operator, start(2), 3)
    with pytest.raises(ValueError, match="count=3"):
        largest_eigenvalues(operator, 3, key=jax.random.key(0))
