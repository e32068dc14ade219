"""How far the output of softmax regression moves, and how far it can."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import spectral_norm


class SoftmaxShift(NamedTuple):
    """The change of the targets that a change of the weights, or of the data, amounts to."""

    shift: Float[Array, " outputs"]
    """b̃ - b."""
    bound: Float[Array, ""]
    """What ‖b̃ - b‖ cannot exceed."""


def softmax_shift(
    a: Float[Array, "outputs dim"],
    x: Float[Array, " dim"],
    *,
    weights: Float[Array, " dim"] | None = None,
    matrix: Float[Array, "outputs dim"] | None = None,
    function: Callable[[Float[Array, " outputs"]], Float[Array, " outputs"]] = jax.nn.softmax,
) -> SoftmaxShift:
    """The targets b̃ for which softmax regression, with nothing else changed, has the residual that a new x or A gives.

    softmax(Ax') - b = softmax(Ax) - b̃ for b̃ = b + softmax(Ax) - softmax(Ax'). The Jacobian of softmax has norm ½ at most, so
    ‖b̃ - b‖ ≤ ½‖A‖‖x' - x‖, and ½‖x‖‖A' - A‖ for a new matrix. "The Closeness of In-Context Learning and Weight Shifting for
    Softmax Regression" (2023), with exp(O(R² + log n)) in place of ½R.

    **Arguments:**

    - `a`, `x`: A and x.
    - `weights`: x', for example x after a step of gradient descent.
    - `matrix`: A', for example A after a layer of self-attention. Exactly one of the two.
    - `function`: in place of softmax; the bound is softmax's whatever it is.

    **Raises:** `ValueError` if both or neither of `weights` and `matrix` are given.
    """
    if (weights is None) == (matrix is None):
        raise ValueError("give either weights= or matrix=, the one that changes")
    if weights is not None:
        after, bound = a @ weights, spectral_norm(a) * jnp.linalg.norm(weights - x)
    else:
        after, bound = matrix @ x, spectral_norm(matrix - a) * jnp.linalg.norm(x)  # type: ignore[operator]
    return SoftmaxShift(function(a @ x) - function(after), bound / 2)
