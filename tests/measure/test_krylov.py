import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
import scipy.sparse.linalg

from armillary.measure import lanczos, ritz
from armillary.measure.krylov import krylov_runs


def symmetric(eigenvalues, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))[0]
    return ((q * eigenvalues) @ q.T).astype(np.float32)


def starts(runs, size, seed=0):
    return np.random.default_rng(seed).standard_normal((runs, size), np.float32)


def test_the_same_run_as_the_compiled_lanczos():
    matrix = symmetric(np.linspace(-3, 5, 60))
    start = starts(1, 60)
    got = krylov_runs(lambda v: v @ matrix, start, 20)
    expected = lanczos(
        lx.MatrixLinearOperator(jnp.asarray(matrix), lx.symmetric_tag), jnp.asarray(start[0]), 20
    )
    np.testing.assert_allclose(got.alphas[0], expected.alphas, atol=1e-4)
    np.testing.assert_allclose(got.betas[0], expected.betas, atol=1e-4)
    values, residuals, _ = got.ritz(0)
    pairs = ritz(expected)
    np.testing.assert_allclose(values[::-1], pairs.values, atol=1e-4)
    np.testing.assert_allclose(residuals[::-1], pairs.residuals, atol=1e-3)


def test_extreme_eigenvalues_against_arpack_and_residuals_are_what_they_say():
    wishart = np.random.default_rng(1).normal(size=(300, 400))
    matrix = (wishart @ wishart.T / 400).astype(np.float32)
    run = krylov_runs(lambda v: v @ matrix, starts(2, 300), 80)
    expected = scipy.sparse.linalg.eigsh(matrix.astype(float), 3, which="LA")[0]
    for r in range(2):
        np.testing.assert_allclose(run.ritz(r)[0][-3:], expected, rtol=1e-4)
    early = krylov_runs(lambda v: v @ matrix, starts(1, 300), 10)
    vector = early.vector(0, -1)
    value, residual = early.ritz(0)[0][-1], early.ritz(0)[1][-1]
    np.testing.assert_allclose(np.linalg.norm(matrix @ vector - value * vector), residual, rtol=1e-3)


@pytest.mark.parametrize(
    "eigenvalues", [[2.0] * 12, [4.0] * 3 + [1.0] * 5, [7.0] + [0.0] * 20, [3.0], [0.0] * 4]
)
def test_repeated_eigenvalues_are_found_by_all_steps(eigenvalues):
    matrix, size = symmetric(np.array(eigenvalues)), len(eigenvalues)
    got = krylov_runs(lambda v: v @ matrix, starts(1, size), size).ritz(0)[0]
    np.testing.assert_allclose(got, np.sort(eigenvalues), atol=2e-5)


def test_without_the_basis_density_and_largest_value_are_the_same():
    matrix = symmetric(np.r_[np.linspace(0, 1, 300), 5, 7, 9])
    kept, lean = (krylov_runs(lambda v: v @ matrix, starts(16, 303), 30, keep=k) for k in (True, False))
    assert lean.basis is None
    for power in (1, 2, 3):
        moments = [
            np.mean([(w * x**power).sum() for x, w in (run.quadrature(r) for r in range(16))])
            for run in (kept, lean)
        ]
        np.testing.assert_allclose(moments[1], moments[0], rtol=1e-4)
    np.testing.assert_allclose(lean.ritz(0)[0][-1], 9, rtol=1e-5)
    with pytest.raises(ValueError, match="not kept"):
        lean.vector(0, -1)


def test_steps_out_of_range():
    with pytest.raises(ValueError, match="steps=4"):
        krylov_runs(lambda v: v, starts(1, 3), 4)


def test_quadrature_weights_sum_to_one_per_run():
    matrix = symmetric(np.linspace(-1, 1, 40))
    run = krylov_runs(lambda v: np.asarray(jax.device_get(jnp.asarray(v) @ matrix)), starts(3, 40), 12)
    np.testing.assert_allclose([run.quadrature(r)[1].sum() for r in range(3)], 1)
