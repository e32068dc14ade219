import jax
import numpy as np

from armillary.measure.eigen import eigh, eigvalsh, solve_positive


def test_a_batch_is_decomposed_matrix_by_matrix_in_a_loop():
    a = np.random.default_rng(0).standard_normal((3, 5, 5)).astype(np.float32)
    a = a + a.swapaxes(1, 2)
    values, vectors = jax.vmap(eigh)(a)
    np.testing.assert_allclose(values, np.linalg.eigvalsh(a), atol=1e-5)
    np.testing.assert_allclose(vectors @ (values[..., None] * vectors.swapaxes(1, 2)), a, atol=1e-5)
    np.testing.assert_allclose(jax.vmap(eigvalsh)(a), values, atol=1e-5)
    program = jax.jit(jax.vmap(eigvalsh)).lower(a).as_text()
    assert 'num_batch_dims = "0"' in program


def test_a_batch_of_equations_is_solved_matrix_by_matrix():
    root = np.random.default_rng(1).standard_normal((3, 5, 9)).astype(np.float32)
    a, b = root @ root.swapaxes(1, 2), root[:, :, :2]
    np.testing.assert_allclose(jax.vmap(solve_positive)(a, b), np.linalg.solve(a, b), rtol=1e-3, atol=1e-4)
    assert "while" in jax.jit(jax.vmap(solve_positive)).lower(a, b).as_text()
