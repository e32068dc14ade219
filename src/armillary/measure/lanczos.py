"""The Lanczos iteration with full reorthogonalization, and the eigenvalues that it finds.

"An Iteration Method for the Solution of the Eigenvalue Problem of Linear Differential and Integral Operators"
(Lanczos 1950); residual bounds as in "The Symmetric Eigenvalue Problem" (Parlett 1998, section 13.2).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Key

from armillary.measure.eigen import eigh


class Lanczos(NamedTuple):
    """A Krylov basis V of an operator A, and A in that basis: A V = V T + beta[-1] · v eᵀ, T tridiagonal."""

    alphas: Float[Array, " steps"]
    """T's diagonal."""
    betas: Float[Array, " steps"]
    """T's off-diagonal, and last the norm of what the basis leaves out."""
    basis: Float[Array, "steps size"]
    """The orthonormal basis, a vector a row."""


class Ritz(NamedTuple):
    """Approximate eigenpairs, the largest value first."""

    values: Float[Array, " count"]
    """Approximate eigenvalues."""
    residuals: Float[Array, " count"]
    """‖A v - value · v‖: an eigenvalue of A lies within this distance of the value."""
    vectors: Float[Array, "count size"]
    """Approximate eigenvectors of unit length, a vector a row."""


def lanczos(operator: lx.AbstractLinearOperator, start: Float[Array, " size"], steps: int) -> Lanczos:
    """Tridiagonalize a symmetric operator on the Krylov space of `start`.

    Every new vector is made orthogonal to all earlier ones, twice, so that no eigenvalue appears more often
    than it should. Where the Krylov space ends early (its off-diagonal entry is then 0), the iteration goes
    on in a random new direction, so that `steps = size` finds all eigenvalues, repeated ones included.

    **Arguments:**

    - `operator`: symmetric, on flat vectors of length `size`.
    - `start`: any vector but 0; a random one unless an eigenvector is to be excluded.
    - `steps`: products spent, at most `size`; the basis takes `steps · size` numbers.

    **Raises:** `ValueError` unless 1 ≤ steps ≤ size.
    """
    (size,) = start.shape
    if not 1 <= steps <= size:
        raise ValueError(f"steps={steps} must be between 1 and the operator's size, {size}")
    key = jax.random.key(0)

    def step(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        basis, vector = carry
        basis = basis.at[i].set(vector)
        image = operator.mv(vector)
        alpha = vector @ image
        rest = image - (basis @ image) @ basis
        norm = jnp.linalg.norm(rest)
        # Below this what is left is rounding error, much of it along the basis: no direction to go on in.
        ended = norm <= 32 * jnp.finfo(start.dtype).eps * jnp.linalg.norm(image)
        fresh = jax.random.normal(jax.random.fold_in(key, i), (size,), start.dtype)
        rest = jnp.where(ended, fresh - (basis @ fresh) @ basis, rest / jnp.where(ended, 1, norm))
        rest = rest - (basis @ rest) @ basis
        length = jnp.linalg.norm(rest)
        beta = jnp.where(ended, 0, norm * length)
        return (basis, rest / jnp.where(length == 0, 1, length)), (alpha, beta)

    first = (jnp.zeros((steps, size), start.dtype), start / jnp.linalg.norm(start))
    (basis, _), (alphas, betas) = jax.lax.scan(step, first, jnp.arange(steps))
    return Lanczos(alphas, betas, basis)


def tridiagonal(result: Lanczos) -> Float[Array, "steps steps"]:
    """The matrix T of a Lanczos run."""
    off = result.betas[:-1]
    return jnp.diag(result.alphas) + jnp.diag(off, 1) + jnp.diag(off, -1)


def ritz(result: Lanczos) -> Ritz:
    """All Ritz pairs of a Lanczos run, the largest value first."""
    values, vectors = eigh(tridiagonal(result))
    values, vectors = values[::-1], vectors[:, ::-1]
    return Ritz(values, jnp.abs(result.betas[-1] * vectors[-1]), vectors.T @ result.basis)


def largest_eigenvalues(
    operator: lx.AbstractLinearOperator, count: int, *, key: Key[Array, ""], steps: int | None = None
) -> Ritz:
    """The `count` largest eigenvalues (not: largest in size) of a symmetric operator, with residuals.

    **Arguments:**

    - `operator`: symmetric, on flat vectors; negate it for the smallest ones.
    - `count`: how many.
    - `key`: the start vector's randomness.
    - `steps`: products to spend; by default 4 · count + 20, at most the operator's size. More of them
      lower the residuals. Fewer than the size find one copy of a repeated eigenvalue.

    **Raises:** `ValueError` if `count` is more than `steps` or the operator's size.
    """
    structure = operator.in_structure()
    (size,) = structure.shape
    steps = min(size, 4 * count + 20) if steps is None else steps
    if not 1 <= count <= steps:
        raise ValueError(f"count={count} must be between 1 and the number of steps, {steps}")
    pairs = ritz(lanczos(operator, jax.random.normal(key, (size,), structure.dtype), steps))
    return Ritz(pairs.values[:count], pairs.residuals[:count], pairs.vectors[:count])
