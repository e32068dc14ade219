"""Models that train lazily: centred outputs at a large scale, and the tangent model itself."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

Model = Callable[[PyTree, PyTree], Float[Array, "..."]]


def lazy_scale(model: Model, start: PyTree, alpha: float | Float[Array, ""]) -> Model:
    """α (f(params, x) - f(start, x)): with α large, a network fits its targets with hardly a change of its parameters.

    "On Lazy Training in Differentiable Programming" (Chizat, Oyallon, Bach 2019), for the loss divided by α².

    **Arguments:**

    - `model`: `(params, x) -> outputs`.
    - `start`: the parameters before training.
    - `alpha`: α; may be traced.
    """
    return lambda params, x: alpha * (model(params, x) - model(start, x))


def linearized(model: Model, start: PyTree) -> Model:
    """f(start, x) + ∇f(start, x)·(params - start): the network whose tangent kernel never moves.

    **Arguments:**

    - `model`: `(params, x) -> outputs`.
    - `start`: where the tangent is taken; its inexact arrays may move, the rest is kept.
    """
    arrays, rest = eqx.partition(start, eqx.is_inexact_array)

    def tangent(params: PyTree, x: PyTree) -> Array:
        change = jax.tree.map(lambda p, s: p - s, eqx.filter(params, eqx.is_inexact_array), arrays)
        value, slope = jax.jvp(lambda a: model(eqx.combine(a, rest), x), (arrays,), (change,))
        return value + slope

    return tangent
