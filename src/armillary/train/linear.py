"""Gradient descent of a linear model, without taking the steps one by one."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import eigh


def linear_descent(
    x: Float[Array, "examples inputs"],
    y: Float[Array, "examples outputs"],
    start: Float[Array, "inputs outputs"],
    rate: float | Float[Array, ""],
    steps: Float[Array, " times"],
    *,
    examples: float | Float[Array, ""] | None = None,
) -> Float[Array, "times inputs outputs"]:
    """The weights after so many steps of full-batch descent on half the mean squared error, exactly.

    In the eigenvectors of XᵀX/n each step multiplies the distance to the solution by 1 - rate · λ, so any number of
    steps is one power; what is orthogonal to all examples stays where it started.

    **Arguments:**

    - `x`, `y`: examples and targets.
    - `start`: the weights before the first step.
    - `rate`: the learning rate, below 1/λ_max.
    - `steps`: whole numbers, not negative.
    - `examples`: n, where rows of zeros fill `x` and `y` up; by default all rows count.
    """
    n = len(x) if examples is None else examples
    values, vectors = eigh(x.T @ x / n)
    values = jnp.maximum(values, jnp.finfo(values.dtype).eps)
    # 1 - (1 - ηλ)^k, and that over λ: k·η where λ is 0.
    done = -jnp.expm1(steps[:, None] * jnp.log1p(-rate * values))
    kept, pulled = (1 - done)[..., None], (done / values)[..., None]
    coefficients = kept * (vectors.T @ start) + pulled * (vectors.T @ (x.T @ y) / n)
    return jnp.einsum("ij,tjk->tik", vectors, coefficients)
