"""Spectra of symmetric operators: exactly, or as a density by stochastic Lanczos quadrature.

"Fast Estimation of tr(f(A)) via Stochastic Lanczos Quadrature" (Ubaru, Chen, Saad 2017) and, for Hessians,
"An Investigation into Neural Net Optimization via Hessian Eigenvalue Density" (Ghorbani, Krishnan, Xiao 2019).
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Int, Key, PyTree

from armillary.measure.curvature import Loss, dense, hessian_operator
from armillary.measure.eigen import eigh, eigvalsh
from armillary.measure.lanczos import lanczos, tridiagonal


class Spectrum(NamedTuple):
    """A discrete measure: eigenvalues of equal weight if exact, quadrature nodes if estimated."""

    values: Float[Array, " nodes"]
    """Eigenvalues or nodes, ascending."""
    weights: Float[Array, " nodes"]
    """Shares of the eigenvalues; they sum to 1."""


class Outliers(NamedTuple):
    """The large eigenvalues of a spectrum."""

    large: Int[Array, ""]
    """How many eigenvalues are above `share` of the largest."""
    participation: Float[Array, ""]
    """(Σe)² / Σe² over the positive eigenvalues: how many equal ones would be as concentrated."""
    edge: Float[Array, ""]
    """The largest eigenvalue that is not counted (the bulk's upper edge); -inf if all are."""


def lanczos_quadrature(
    operator: lx.AbstractLinearOperator, *, key: Key[Array, ""], probes: int = 8, steps: int = 64
) -> Spectrum:
    """The spectral density of a symmetric operator by stochastic Lanczos quadrature.

    Each random probe of unit length gives the Gauss quadrature of its own spectral measure, exact for
    polynomials of degree 2 · steps - 1; the mean over probes is unbiased for the density's moments up to that
    degree, with a standard error of order (size · probes)^-½ relative to their size.

    **Arguments:**

    - `operator`: symmetric, on flat vectors.
    - `key`: the probes' randomness.
    - `probes`: random vectors, one after another (memory: one basis of `steps · size` numbers).
    - `steps`: products a probe, cut to the operator's size.
    """
    structure = operator.in_structure()
    (size,) = structure.shape

    def one(key: Array) -> tuple[Array, Array]:
        start = jax.random.normal(key, (size,), structure.dtype)
        nodes, vectors = eigh(tridiagonal(lanczos(operator, start, min(steps, size))))
        return nodes, vectors[0] ** 2 / probes

    nodes, weights = jax.lax.map(one, jax.random.split(key, probes))
    order = jnp.argsort(nodes.ravel())
    return Spectrum(nodes.ravel()[order], weights.ravel()[order])


def exact_spectrum(operator: lx.AbstractLinearOperator, *, chunk: int = 64) -> Spectrum:
    """All eigenvalues of a symmetric operator on flat vectors, through its dense matrix."""
    values = eigvalsh(dense(operator, chunk=chunk))
    return Spectrum(values, jnp.full_like(values, 1 / values.size))


def hessian_spectrum(
    loss: Loss,
    params: PyTree,
    batch: PyTree,
    *,
    method: Literal["exact", "lanczos"] | None = None,
    key: Key[Array, ""] | None = None,
    probes: int = 8,
    steps: int = 64,
    chunk: int = 64,
) -> Spectrum:
    """The eigenvalues of the Hessian of `loss` at `params`, or their estimated density.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`.
    - `params`: any pytree; its inexact arrays count.
    - `batch`: handed on to `loss`.
    - `method`: `exact` (dense matrix, memory the square of the number of parameters) or `lanczos`
      (stochastic Lanczos quadrature); by default exact up to 3000 parameters.
    - `key`, `probes`, `steps`: for `lanczos`, see [`lanczos_quadrature`][].
    - `chunk`: for `exact`, columns computed at once.

    **Raises:** `ValueError` if `lanczos` has no key, or `method` is neither.
    """
    operator = hessian_operator(loss, params, batch)
    method = method or ("exact" if operator.in_size() <= 3000 else "lanczos")
    if method == "exact":
        return exact_spectrum(operator, chunk=chunk)
    if method != "lanczos":
        raise ValueError(f"method={method!r} must be 'exact' or 'lanczos'")
    if key is None:
        raise ValueError("stochastic Lanczos quadrature draws random vectors: pass key=")
    return lanczos_quadrature(operator, key=key, probes=probes, steps=steps)


def spectral_density(
    spectrum: Spectrum, grid: Float[Array, " grid"], width: float | Float[Array, ""]
) -> Float[Array, " grid"]:
    """A spectrum smoothed by a Gaussian of standard deviation `width`, at the points of `grid`.

    Units: per unit of eigenvalue; integrates to 1.
    """
    z = (grid[:, None] - spectrum.values) / width
    return jnp.exp(-(z**2) / 2) @ spectrum.weights / (width * jnp.sqrt(2 * jnp.pi))


def spectral_outliers(eigenvalues: Float[Array, " size"], share: float = 0.05) -> Outliers:
    """Count the large eigenvalues, by a threshold and without one.

    "Empirical Analysis of the Hessian of Over-Parametrized Neural Networks" (Sagun et al. 2017) counts
    them by eye; here both counts are stated.

    **Arguments:**

    - `eigenvalues`: all of them, in any order; the largest must be positive.
    - `share`: of the largest eigenvalue, above which one is large.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.measure import spectral_outliers

    bulk = jnp.abs(jax.random.normal(jax.random.key(0), (100,)))
    spectral_outliers(jnp.append(bulk, jnp.array([80.0, 100.0]))).large  # 2 above a twentieth of the largest
    ```
    """
    large = eigenvalues > share * eigenvalues.max()
    positive = jnp.maximum(eigenvalues, 0)
    return Outliers(
        large.sum(),
        positive.sum() ** 2 / (positive**2).sum(),
        jnp.where(large, -jnp.inf, eigenvalues).max(),
    )
