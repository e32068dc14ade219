"""The largest learning rate at which SGD stays at a minimum, in mean square.

At a global minimum of a square loss, with aᵢ the gradient of the model's output on example i,
the Hessian is H = (1/n) Σ aᵢaᵢᵀ and one step of SGD on a batch multiplies a small displacement by
I - (η/B) Σ_batch aᵢaᵢᵀ. Its second moment S then goes to S - η L(S) + η² Q(S), with

    L(S) = HS + SH,    Q(S) = (1-p) HSH + (p/n) Σ aᵢaᵢᵀ S aᵢaᵢᵀ,    p = (n-B) / (B (n-1))

for batches of B without replacement. This map is positive, and so are L⁻¹ and Q; hence its spectral radius is at
most 1 exactly when η ρ(L⁻¹Q) ≤ 1 (a regular splitting), and 1/ρ is the limit: no bisection over η is needed.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import lineax as lx
from jaxtyping import Array, Float

from armillary.measure.eigen import eigh
from armillary.measure.lanczos import lanczos, ritz


class Stability(NamedTuple):
    """Learning rates at which a minimum is stable, and the Hessian's sizes behind them."""

    limit: Float[Array, ""]
    """The largest learning rate at which the mean square of a displacement does not grow."""
    residual: Float[Array, ""]
    """Relative error bound of `limit`, from the Lanczos residual."""
    trace_bound: Float[Array, ""]
    """2 / ((1-p) ‖H‖²_F / tr H + p tr H): never below `limit`; 2 / tr H for single examples."""
    descent_limit: Float[Array, ""]
    """2 / λ_max: the limit of full-batch gradient descent."""
    trace: Float[Array, ""]
    """tr H."""
    frobenius: Float[Array, ""]
    """‖H‖_F."""
    largest: Float[Array, ""]
    """λ_max(H)."""


def batch_noise(examples: int, batch_size: float | Float[Array, ""]) -> Float[Array, ""]:
    """The share p of gradient noise left by batches of a size: 1 for single examples, 0 for the full batch.

    p = (n-B) / (B (n-1)), without replacement within a batch. `batch_size` may be traced.
    """
    return (examples - jnp.asarray(batch_size)) / (batch_size * (examples - 1))


def mean_square_stability(
    gradients: Float[Array, "examples params"], batch_size: float | Float[Array, ""] = 1, *, steps: int = 48
) -> Stability:
    """The exact mean-square stability limit of a global minimum under SGD on the square loss.

    "The Implicit Regularization of Dynamical Stability in Stochastic Gradient Descent" (Wu, Su 2023) for
    the operator and the trace bound; "Exact Mean Square Linear Stability Analysis for SGD" (Mulayoff,
    Michaeli 2023) for the closed form of the limit. All in the span of the gradients: the number of
    parameters enters only through one Gram matrix.

    **Arguments:**

    - `gradients`: row i is the gradient of the model's *output* on example i at the minimum (not of its loss,
      which vanishes there). The loss is the mean of (output - target)² / 2.
    - `batch_size`: B, drawn without replacement; may be traced, from 1 to the number of examples n.
    - `steps`: Lanczos products, O(n³) each; the basis takes `steps · n²` numbers.

    **Returns:** a [`Stability`][armillary.measure.Stability]; rates in the unit of 1/curvature.

    **Example:**

    ```python
    import jax
    from armillary.measure import mean_square_stability

    gradients = jax.random.normal(jax.random.key(0), (40, 100))  # of the output, a row an example
    at_one = mean_square_stability(gradients, batch_size=1)
    at_one.limit, at_one.trace_bound, at_one.descent_limit  # 0.0174, 0.0195, 0.317
    ```
    """
    n = len(gradients)
    p = batch_noise(n, batch_size)
    # In the eigenbasis of the Gram matrix H is diagonal, and L divides entry (j, k) by hⱼ + hₖ.
    values, vectors = eigh(gradients @ gradients.T)
    values = jnp.maximum(values, values[-1] * n * jnp.finfo(values.dtype).eps)
    rows, h = vectors * jnp.sqrt(values), values / n
    root = jnp.sqrt(h[:, None] + h)

    def product(flat: Array) -> Array:
        s = flat.reshape(n, n) / root
        noise = (rows.T * jnp.einsum("ij,jk,ik->i", rows, s, rows)) @ rows / n
        return (((1 - p) * h[:, None] * s * h + p * noise) / root).ravel()

    # L^-½ Q L^-½ is symmetric and has L⁻¹Q's spectrum. The start, the identity seen through L^½, is what the
    # trace bound tests; it overlaps the leading eigenvector, which is positive semidefinite.
    operator = lx.FunctionLinearOperator(
        product, jax.ShapeDtypeStruct((n * n,), rows.dtype), lx.symmetric_tag
    )
    pairs = ritz(lanczos(operator, jnp.diag(jnp.sqrt(2 * h)).ravel(), min(steps, n * n)))
    trace, square = h.sum(), (h**2).sum()
    return Stability(
        limit=1 / pairs.values[0],
        residual=pairs.residuals[0] / pairs.values[0],
        trace_bound=2 / ((1 - p) * square / trace + p * trace),
        descent_limit=2 / h[-1],
        trace=trace,
        frobenius=jnp.sqrt(square),
        largest=h[-1],
    )
