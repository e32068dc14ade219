"""Eigenvalues of a small symmetric matrix, and its inverse on vectors: one matrix after another under `vmap`."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# XLA works through a batch of matrices on the CPU's thread pool, and waits for it inside that pool: two devices'
# programs that both held a batched decomposition (or Cholesky factorization) were seen to stop for good, every thread
# waiting.


@jax.custom_batching.sequential_vmap
def eigh(matrix: Float[Array, "n n"]) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Eigenvalues, the smallest first, and eigenvectors (columns). Has no reverse-mode derivative."""
    values, vectors = jnp.linalg.eigh(matrix)
    return values, vectors


@jax.custom_batching.sequential_vmap
def eigvalsh(matrix: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Eigenvalues, the smallest first. Has no reverse-mode derivative."""
    return jnp.linalg.eigvalsh(matrix)


@jax.custom_batching.sequential_vmap
def solve_positive(
    matrix: Float[Array, "n n"], right: Float[Array, "n columns"]
) -> Float[Array, "n columns"]:
    """matrix⁻¹ right for a symmetric positive definite matrix, by Cholesky. Has no reverse-mode derivative."""
    return jax.scipy.linalg.cho_solve(jax.scipy.linalg.cho_factor(matrix, lower=True), right)


@jax.custom_batching.sequential_vmap
def singular_values(matrix: Float[Array, "rows columns"]) -> Float[Array, " n"]:
    """Singular values, the largest first. Has no reverse-mode derivative."""
    return jnp.linalg.svd(matrix, compute_uv=False)


def nuclear_norm(matrix: Float[Array, "rows columns"]) -> Float[Array, ""]:
    """The sum of the singular values. Has no reverse-mode derivative."""
    return jnp.sum(singular_values(matrix))


def spectral_norm(matrix: Float[Array, "rows columns"]) -> Float[Array, ""]:
    """The largest singular value, by way of the smaller Gram matrix. Has no reverse-mode derivative."""
    rows, columns = matrix.shape
    gram = matrix @ matrix.T if rows < columns else matrix.T @ matrix
    return jnp.sqrt(eigvalsh(gram)[-1])
