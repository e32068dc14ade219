"""The training loop: one `lax.scan`, any Optax optimizer, curves at a stride, works under `vmap`."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import optax
from jaxtyping import Array, Float, Key, PyTree


class Fit(NamedTuple):
    """What `fit` returns."""

    params: PyTree
    """The parameters after the last step."""
    loss: Float[Array, " points"]
    """The batch loss before each recorded step: steps 0, every, 2·every, …"""
    record: PyTree
    """What `record(params)` gave before each recorded step, stacked; None without `record`."""
    state: optax.OptState
    """The optimizer's state after the last step; pass it as `state=` to go on."""


def fit(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]],
    params: PyTree,
    batch: Callable[[Key[Array, ""]], PyTree] | PyTree,
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    key: Key[Array, ""] | None = None,
    every: int = 1,
    record: Callable[[PyTree], PyTree] | None = None,
    gradient: Callable[[PyTree, PyTree], tuple[Float[Array, ""], PyTree]] | None = None,
    state: optax.OptState | None = None,
) -> Fit:
    """Minimize `loss(params, batch)` for a number of steps, in one compiled loop.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`.
    - `params`: any pytree, an Equinox module included; its inexact arrays are trained, the rest is kept.
    - `batch`: a function of a key that draws (or slices) the step's batch; or a pytree of arrays, used
      whole at every step (full-batch training).
    - `optimizer`: an Optax gradient transformation; schedules count the steps.
    - `steps`: how many; a multiple of `every`.
    - `key`: the batches' randomness; needed where `batch` is a function.
    - `every`: the stride at which `loss` and `record` are kept.
    - `record`: `params -> pytree` of measurements, computed only at the stride.
    - `gradient`: `(params, batch) -> (loss, gradient)` in place of `jax.value_and_grad(loss)`, for rules
      that combine per-example or per-group gradients. The gradient has None where `params` is not trained.
    - `state`: an optimizer state to continue from.

    **Returns:** a [`Fit`][armillary.train.Fit]. Point i of the curves belongs to the parameters *before*
    step i·every, so that the first point is the start.

    **Raises:** `ValueError` if `steps` is no multiple of `every`, or a drawn batch has no key.
    """
    if every < 1 or steps < 0 or steps % every:
        raise ValueError(f"steps={steps} must be a non-negative multiple of every={every}")
    drawn = callable(batch)
    if drawn and key is None:
        raise ValueError("batch is a function of a key: pass key=")
    draw: Callable[[Any], PyTree] = batch if drawn else lambda _: batch
    arrays, static = eqx.partition(params, eqx.is_inexact_array)

    def default_gradient(params: PyTree, batch: PyTree) -> tuple[Array, PyTree]:
        trainable, rest = eqx.partition(params, eqx.is_inexact_array)
        return jax.value_and_grad(lambda p: loss(eqx.combine(p, rest), batch))(trainable)

    value_and_gradient = gradient or default_gradient

    def step(carry: tuple[PyTree, Any], step_key: Array | None) -> tuple[tuple[PyTree, Any], Array]:
        arrays, state = carry
        now = draw(step_key)
        value, grads = value_and_gradient(eqx.combine(arrays, static), now)
        updates, state = optimizer.update(grads, state, arrays)
        return (optax.apply_updates(arrays, updates), state), value

    def block(carry: tuple[PyTree, Any], keys: Array | None) -> tuple[tuple[PyTree, Any], Any]:
        recorded = None if record is None else record(eqx.combine(carry[0], static))
        carry, losses = jax.lax.scan(step, carry, keys, length=every)
        return carry, (losses[0], recorded)

    keys = jax.random.split(key, (steps // every, every)) if drawn else None  # type: ignore[arg-type]
    state = optimizer.init(arrays) if state is None else state
    (arrays, state), (losses, recorded) = jax.lax.scan(block, (arrays, state), keys, length=steps // every)
    return Fit(eqx.combine(arrays, static), losses, recorded, state)
