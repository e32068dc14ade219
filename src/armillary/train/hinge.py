"""Stochastic gradient descent on the hinge loss, until every example has its margin."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


class HingeSGD(NamedTuple):
    """Where a run stopped."""

    weights: Float[Array, " dim"]
    updates: Int[Array, ""]
    """Steps that changed the weights; those on examples with their margin do not."""
    fitted: Bool[Array, ""]
    """Whether every example has its margin; False where the run was given up."""


def hinge_sgd(
    x: Float[Array, "n dim"],
    y: Float[Array, " n"],
    rate: float | Float[Array, ""],
    *,
    key: Key[Array, ""],
    max_updates: int,
    margin: float | Float[Array, ""] = 1.0,
    present: Bool[Array, " n"] | None = None,
) -> HingeSGD:
    """Descend on max(0, margin - y w·x), one example a step, from w = 0 until no example is short of its margin.

    Examples are drawn with replacement. A step on an example that has its margin does nothing, so that the next step
    that counts is on a uniformly drawn one of those that have not, and only such steps are taken. With a batch of one
    the noise scale T = rate/batch is the rate: "Dissecting the Effects of SGD Noise in Distinct Regimes of Deep
    Learning" (2023).

    **Arguments:**

    - `x`, `y`: the examples, a row each, and their labels ±1.
    - `rate`: the learning rate; may be traced.
    - `key`: which example is next.
    - `max_updates`: where to give up.
    - `margin`: what y w·x must reach.
    - `present`: which examples count, by default all: sizes that are traced are padded to one shape.
    """
    z = jnp.asarray(x * y[:, None])

    def short(weights: Array) -> Array:
        missing = z @ weights < margin
        return missing if present is None else missing & present

    def go_on(state: tuple[Array, Array, Array]) -> Array:
        _, updates, missing = state
        return missing.any() & (updates < max_updates)

    def update(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        weights, updates, missing = state
        draw = jax.random.bits(jax.random.fold_in(key, updates), missing.shape, jnp.uint32)
        weights = weights + rate * z[jnp.argmax(jnp.where(missing, draw | 1, 0))]
        return weights, updates + 1, short(weights)

    start = jnp.zeros(x.shape[1], x.dtype)
    weights, updates, missing = jax.lax.while_loop(go_on, update, (start, jnp.array(0), short(start)))
    return HingeSGD(weights, updates, ~missing.any())
