"""Kernel ridge regression."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import solve_positive


def kernel_ridge(
    gram: Float[Array, "rows rows"],
    y: Float[Array, "rows *out"],
    cross: Float[Array, "queries rows"],
    *,
    ridge: float | Float[Array, ""] = 1e-3,
) -> Float[Array, "queries *out"]:
    """The predictions of ridge regression in a kernel's space: cross (gram + λ I)⁻¹ y.

    What gradient descent with weight decay on a wide network's last layer, or on all of a network that stays in
    its tangent space, converges to.

    **Arguments:**

    - `gram`: the kernel between all training inputs.
    - `y`: responses.
    - `cross`: the kernel between queries and training inputs.
    - `ridge`: λ over the mean of the gram matrix's diagonal. Much less than 1e-6 is lost in 32-bit rounding.
    """
    shift = ridge * jnp.trace(gram) / len(gram)
    system = gram + shift * jnp.eye(len(gram))
    solve = lambda _, right: solve_positive(jax.lax.stop_gradient(system), right)
    right = y.reshape(len(y), -1)
    weights = jax.lax.custom_linear_solve(lambda w: system @ w, right, solve, symmetric=True)
    return cross @ weights.reshape(y.shape)
