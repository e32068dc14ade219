"""Gradient descent on matrices of bounded rank."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from armillary.measure.eigen import eigh


def low_rank(matrix: Float[Array, "rows columns"], rank: int) -> Float[Array, "rows columns"]:
    """The nearest matrix of at most this rank (Eckart and Young 1936), by way of the rows' Gram matrix.

    Singular values below the square root of the float's precision times the largest are not told from zero.
    """
    _, vectors = eigh(matrix @ matrix.T)
    top = vectors[:, -rank:]
    return top @ (top.T @ matrix)


def low_rank_projected_gradient(
    gradient: Callable[[PyTree], PyTree],
    start: PyTree,
    *,
    matrix: Callable[[PyTree], Float[Array, "rows columns"]],
    replace: Callable[[PyTree, Float[Array, "rows columns"]], PyTree],
    rank: int,
    rate: float | Float[Array, ""],
    steps: int,
    record: Callable[[PyTree], Any] = lambda params: params,
) -> tuple[PyTree, PyTree]:
    """A gradient step on all parameters, then the nearest matrix of bounded rank in the place of one of them; again.

    Where the objective is strongly convex and smooth, of condition number L/μ, a step of 1/L contracts the distance to a
    minimizer of that rank by 2 (1 − μ/L): "Supervised Dictionary Learning with Auxiliary Covariates" (2022), theorem 3.5.

    **Arguments:**

    - `gradient`: `params -> ` its like.
    - `start`: the parameters to begin with.
    - `matrix`, `replace`: take the matrix out of the parameters, and put one in.
    - `rank`: the bound.
    - `rate`: the step.
    - `steps`: how many.
    - `record`: `params -> pytree`, kept before every step.

    **Returns:** the last parameters, and what was recorded, stacked.
    """

    def step(params: PyTree, _: None) -> tuple[PyTree, Any]:
        moved = jax.tree.map(lambda p, g: p - rate * g, params, gradient(params))
        return replace(moved, low_rank(matrix(moved), rank)), record(params)

    return jax.lax.scan(step, start, length=steps)


def supervised_dictionary_loss(
    params: dict[str, Array],
    x: Float[Array, "inputs examples"],
    labels: Float[Array, " examples"],
    covariates: Float[Array, "covariates examples"],
    *,
    xi: float | Float[Array, ""],
    ridge: float | Float[Array, ""],
) -> Float[Array, ""]:
    """The filter form, lifted: convex in how inputs and covariates act on the label, and in the reconstruction.

    Σ logistic loss(label, a·x + c·x′) + ξ ‖X − B‖² + ridge (‖a‖² + ‖c‖²). With a = W β and B = W H the matrix [a, B] has
    the rank of the dictionary W; that constraint is
    [`low_rank_projected_gradient`][armillary.train.low_rank_projected_gradient]'s. "Supervised Dictionary Learning with
    Auxiliary Covariates" (2022), eq. 6.

    **Arguments:**

    - `params`: `{"lifted": [a, B], inputs × (1 + examples), "covariates": c}`.
    - `labels`: 0 or 1.
    """
    a, reconstruction = params["lifted"][:, 0], params["lifted"][:, 1:]
    logits = a @ x + params["covariates"] @ covariates
    losses = jax.nn.softplus(logits) - labels * logits
    penalty = jnp.sum(a**2) + jnp.sum(params["covariates"] ** 2)
    return jnp.sum(losses) + xi * jnp.sum((x - reconstruction) ** 2) + ridge * penalty
