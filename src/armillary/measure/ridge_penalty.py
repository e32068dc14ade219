"""Which ridge regression an in-context regressor is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.learners import ridge


class RidgePenalty(NamedTuple):
    """What [`implicit_ridge_penalty`][armillary.measure.implicit_ridge_penalty] returns."""

    penalty: Float[Array, ""]
    """The best penalty λ in ‖y - Xw‖² + λ‖w‖²."""
    difference: Float[Array, " penalties"]
    """Mean squared difference of the predictions (SPD) from ridge regression at each penalty, in units of y²."""


def implicit_ridge_penalty(
    predictions: Float[Array, "prompts queries"],
    x: Float[Array, "prompts length dim"],
    y: Float[Array, "prompts length"],
    query: Float[Array, "prompts queries dim"],
    penalties: Float[Array, " penalties"],
) -> RidgePenalty:
    """The penalty of the ridge regression that predicts most like a model.

    After "What learning algorithm is in-context learning? Investigations with linear models" (Akyürek et al. 2022,
    section 4): a model trained on weights of variance t and noise of variance s should have s/t, the posterior
    mean's.

    **Arguments:**

    - `predictions`: the model's, at the queries.
    - `x`, `y`: the prompts' examples. Shorter prompts may be filled up with zeros, which ridge regression does not
      see.
    - `query`: the inputs at which it predicted.
    - `penalties`: where to look, increasing, positive and evenly spaced on a logarithmic scale; at least 3.

    **Returns:** the differences, and the penalty at the bottom of the parabola through the least of them and its
    neighbours, in log λ; an end of `penalties` where the differences still fall there.
    """

    def difference(penalty: Array) -> Array:
        return jnp.mean((jax.vmap(ridge(penalty))(x, y, query) - predictions) ** 2)

    differences = jax.lax.map(difference, penalties)
    last = len(penalties) - 1
    least = jnp.argmin(differences)
    middle = jnp.clip(least, 1, last - 1)
    left, centre, right = (differences[middle + i] for i in (-1, 0, 1))
    bend = left - 2 * centre + right
    shift = jnp.where(bend > 0, (left - right) / (2 * jnp.where(bend > 0, bend, 1)), 0)
    inside = jnp.exp(jnp.log(penalties[middle]) + shift * jnp.log(penalties[1] / penalties[0]))
    return RidgePenalty(jnp.where(middle == least, inside, penalties[least]), differences)
