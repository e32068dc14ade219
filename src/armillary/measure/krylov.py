"""Lanczos runs of a product that only another framework, or the whole data streamed, can compute.

The same iteration as [`lanczos`][armillary.measure.lanczos], with its loop outside: `product` is any function of a
stack of vectors, so that several runs go forward in step and share what a product has to set up.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

Product = Callable[[Float[np.ndarray, "runs size"]], Float[np.ndarray, "runs size"]]


class KrylovRuns(NamedTuple):
    """Tridiagonal matrices of several Lanczos runs, and their bases where these were kept."""

    alphas: Float[np.ndarray, "runs steps"]
    """The diagonals."""
    betas: Float[np.ndarray, "runs steps"]
    """The off-diagonals, and last the norm of what each basis leaves out."""
    basis: Float[np.ndarray, "runs steps size"] | None

    def ritz(self, run: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """One run's Ritz values (ascending), residuals, and eigenvectors of T (a column each)."""
        off = self.betas[run, :-1]
        values, vectors = np.linalg.eigh(np.diag(self.alphas[run]) + np.diag(off, 1) + np.diag(off, -1))
        return values, np.abs(self.betas[run, -1] * vectors[-1]), vectors

    def quadrature(self, run: int) -> tuple[np.ndarray, np.ndarray]:
        """Nodes and weights of one run's spectral measure; the weights sum to 1."""
        values, _, vectors = self.ritz(run)
        return values, vectors[0] ** 2

    def vector(self, run: int, place: int) -> Float[np.ndarray, " size"]:
        """The Ritz vector of a run's value number `place` (as `ritz` orders them), of unit length."""
        if self.basis is None:
            raise ValueError("the basis was not kept")
        found = self.ritz(run)[2][:, place].astype(self.basis.dtype) @ self.basis[run]
        return found / np.linalg.norm(found)


def krylov_runs(
    product: Product, starts: Float[np.ndarray, "runs size"], steps: int, *, keep: bool = True, seed: int = 0
) -> KrylovRuns:
    """Tridiagonalize a symmetric operator from several starts at once (Lanczos 1950).

    **Arguments:**

    - `product`: the operator times each vector of a stack.
    - `starts`: a vector a run; random ones unless directions are to be excluded.
    - `steps`: products a run, at most the operator's size.
    - `keep`: keep every basis and make each new vector orthogonal to all of it, twice: no eigenvalue appears
      more often than it should, and Ritz vectors can be had; `runs · steps · size` numbers. Otherwise three
      vectors a run: good for densities and extreme values, which repeat once they have converged
      ("Lanczos Algorithms for Large Symmetric Eigenvalue Computations", Cullum and Willoughby 1985).
    - `seed`: of the new direction taken where a Krylov space ends early.

    **Raises:** `ValueError` unless 1 ≤ steps ≤ size.
    """
    runs, size = starts.shape
    if not 1 <= steps <= size:
        raise ValueError(f"steps={steps} must be between 1 and the operator's size, {size}")
    rng = np.random.default_rng(seed)
    alphas, betas = np.zeros((runs, steps)), np.zeros((runs, steps))
    basis = np.zeros((runs, steps, size), starts.dtype) if keep else None
    now = starts / np.linalg.norm(starts, axis=1, keepdims=True).astype(starts.dtype)
    before = np.zeros_like(now)
    for i in range(steps):
        image = np.array(product(now))
        scale = np.linalg.norm(image, axis=1)
        for r in range(runs):
            v, w = now[r], image[r]
            alphas[r, i] = v @ w
            if basis is None:
                w -= v * v.dtype.type(alphas[r, i])
                if i:
                    w -= before[r] * v.dtype.type(betas[r, i - 1])
            else:
                basis[r, i] = v
                _remove(w, basis[r, : i + 1])
                _remove(w, basis[r, : i + 1])
            beta = float(np.linalg.norm(w))
            if beta <= 32 * np.finfo(v.dtype).eps * scale[r]:  # rounding error: no direction to go on in
                w[:] = rng.standard_normal(size)
                if basis is not None and i + 1 < size:
                    _remove(w, basis[r, : i + 1])
                    _remove(w, basis[r, : i + 1])
                betas[r, i] = 0.0
                beta = float(np.linalg.norm(w))
            else:
                betas[r, i] = beta
            w /= v.dtype.type(beta or 1)
        before, now = now, image
    return KrylovRuns(alphas, betas, basis)


def _remove(w: np.ndarray, basis: np.ndarray) -> None:
    w -= (basis @ w) @ basis
