"""Three sizes of a Hessian: trace, Frobenius norm, largest eigenvalue."""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Key, PyTree

from armillary.measure.curvature import Loss, dense, hessian_operator
from armillary.measure.lanczos import largest_eigenvalues
from armillary.measure.trace import Estimate, frobenius_norm, hutchinson_trace


class HessianSizes(NamedTuple):
    """Each with its error: standard errors of the first two (0 if exact), a residual bound of the third."""

    trace: Estimate
    frobenius: Estimate
    largest: Estimate


def hessian_sizes(
    loss: Loss,
    params: PyTree,
    batch: PyTree,
    *,
    key: Key[Array, ""],
    method: Literal["exact", "stochastic"] | None = None,
    probes: int = 64,
    steps: int = 40,
    chunk: int = 64,
) -> HessianSizes:
    """The trace, Frobenius norm and largest eigenvalue of the Hessian of `loss` at `params`.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`.
    - `params`: any pytree; its inexact arrays count.
    - `batch`: handed on to `loss`.
    - `key`: randomness of the probes and of the Lanczos start.
    - `method`: `exact` (dense matrix, memory the square of the number of parameters) or `stochastic`
      (Hutchinson's estimators); by default exact up to 3000 parameters. The largest eigenvalue is by Lanczos
      in either case.
    - `probes`: for `stochastic`, products a trace and a norm.
    - `steps`: Lanczos products.
    - `chunk`: products computed at once.

    **Raises:** `ValueError` if `method` is neither.
    """
    operator: lx.AbstractLinearOperator = hessian_operator(loss, params, batch)
    method = method or ("exact" if operator.in_size() <= 3000 else "stochastic")
    trace_key, norm_key, start_key = jax.random.split(key, 3)
    if method == "exact":
        matrix = dense(operator, chunk=chunk)
        operator = lx.MatrixLinearOperator(matrix, lx.symmetric_tag)
        zero = jnp.zeros((), matrix.dtype)
        trace = Estimate(jnp.trace(matrix), zero)
        norm = Estimate(jnp.sqrt((matrix**2).sum()), zero)
    elif method == "stochastic":
        trace = hutchinson_trace(operator, key=trace_key, probes=probes, chunk=chunk)
        norm = frobenius_norm(operator, key=norm_key, probes=probes, chunk=chunk)
    else:
        raise ValueError(f"method={method!r} must be 'exact' or 'stochastic'")
    top = largest_eigenvalues(operator, 1, key=start_key, steps=min(steps, operator.in_size()))
    return HessianSizes(trace, norm, Estimate(top.values[0], top.residuals[0]))
