"""Descent of a first layer in coefficients on its training inputs."""

from collections.abc import Callable

import jax
from jaxtyping import Array, Float, PyTree


def span_gradient(
    loss: Callable[[Float[Array, "width examples"], PyTree], Float[Array, ""]],
    start: Float[Array, "width examples"],
    gram: Float[Array, "examples examples"],
) -> Callable[[Float[Array, "width examples"], PyTree], tuple[Array, Array]]:
    """The `gradient=` of [`fit`][armillary.train.fit] that trains a first layer W through its coefficients A.

    Descent only ever adds multiples of the inputs to the layer's rows: W = W₀ + A X. A plain step on A along the
    gradient of the preactivations W Xᵀ = W₀ Xᵀ + A K is exactly the step on W, and costs the same however many
    dimensions the inputs have. (Exact for plain gradient descent, whatever comes after the preactivations.)

    **Arguments:**

    - `loss`: `(preactivations, batch) -> scalar`, on all training examples.
    - `start`: W₀ Xᵀ.
    - `gram`: K = X Xᵀ.

    **Returns:** `(A, batch) -> (loss, step direction)`. At other inputs Z the preactivations are W₀ Zᵀ + A X Zᵀ.
    """
    value_and_gradient = jax.value_and_grad(loss)
    return lambda coefficients, batch: value_and_gradient(start + coefficients @ gram, batch)
