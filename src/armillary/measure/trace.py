"""Stochastic estimates of an operator's trace and Frobenius norm, with standard errors."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float, Key


class Estimate(NamedTuple):
    """An estimate and its standard error."""

    value: Float[Array, ""]
    error: Float[Array, ""]


def _probes(operator: lx.AbstractLinearOperator, count: int, key: Array) -> Array:
    structure = operator.in_structure()
    return jax.random.rademacher(key, (count, *structure.shape), structure.dtype)


def _images(operator: lx.AbstractLinearOperator, vectors: Array, chunk: int) -> Array:
    return jax.lax.map(operator.mv, vectors, batch_size=min(chunk, len(vectors)))


def _mean(samples: Array) -> Estimate:
    return Estimate(samples.mean(), samples.std(ddof=1) / samples.size**0.5)


def hutchinson_trace(
    operator: lx.AbstractLinearOperator, *, key: Key[Array, ""], probes: int = 32, chunk: int = 8
) -> Estimate:
    """The trace of a square operator as the mean of zᵀAz over random signs z.

    "A Stochastic Estimator of the Trace of the Influence Matrix for Laplacian Smoothing Splines"
    (Hutchinson 1989). For a symmetric A the variance of one probe is 2 Σ_{i≠j} A_ij²; a diagonal A is exact.

    **Arguments:**

    - `operator`: on flat vectors.
    - `key`: the probes' randomness.
    - `probes`: products to spend, 2 or more.
    - `chunk`: products computed at once.
    """
    z = _probes(operator, probes, key)
    return _mean((z * _images(operator, z, chunk)).sum(1))


def hutchpp_trace(
    operator: lx.AbstractLinearOperator, *, key: Key[Array, ""], probes: int = 48, chunk: int = 8
) -> Estimate:
    """The trace of a symmetric operator by Hutch++: exact on a sketched range, Hutchinson on the rest.

    "Hutch++: Optimal Stochastic Trace Estimation" (Meyer, Musco, Musco, Woodruff 2021, algorithm 1): with
    m products the error is O(tr A / m) for semidefinite A, against O(‖A‖_F / √m) for Hutchinson.

    **Arguments:**

    - `operator`: symmetric, on flat vectors.
    - `key`: the probes' randomness.
    - `probes`: products to spend, a third each on the sketch, on its range and on the rest; 6 or more.
    - `chunk`: products computed at once.

    **Returns:** the estimate; its standard error is that of the Hutchinson part.
    """
    third = min(probes // 3, operator.in_size())
    sketch_key, rest_key = jax.random.split(key)
    basis = jnp.linalg.qr(_images(operator, _probes(operator, third, sketch_key), chunk).T)[0].T
    z = _probes(operator, probes - 2 * third, rest_key)
    z = z - (z @ basis.T) @ basis
    exact = (basis * _images(operator, basis, chunk)).sum()
    rest = _mean((z * _images(operator, z, chunk)).sum(1))
    return Estimate(exact + rest.value, rest.error)


def frobenius_norm(
    operator: lx.AbstractLinearOperator, *, key: Key[Array, ""], probes: int = 32, chunk: int = 8
) -> Estimate:
    """The Frobenius norm of an operator as the root of the mean of ‖Az‖² over random signs z.

    This is Hutchinson's estimator for tr(AᵀA) = ‖A‖_F²; the root's standard error is by the delta method.

    **Arguments:** as for [`hutchinson_trace`][].
    """
    images = _images(operator, _probes(operator, probes, key), chunk)
    square = _mean((images**2).sum(1))
    norm = jnp.sqrt(square.value)
    return Estimate(norm, square.error / (2 * jnp.where(norm == 0, 1, norm)))
