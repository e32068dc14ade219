"""Training a stack of linear attention layers, with or without the right to rewrite its inputs."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from armillary.nn.linear_attention_stack import LinearAttentionStack
from armillary.train.fit import Fit, fit


def fit_linear_attention_stack(
    loss: Callable[[LinearAttentionStack, PyTree], Float[Array, ""]],
    layers: int,
    dim: int,
    batch: Callable[[Key[Array, ""]], PyTree],
    *,
    key: Key[Array, ""],
    scale: float | Float[Array, ""] = 0.3,
    rewriting: float | Float[Array, ""] = 1.0,
    steps: int = 600,
    rate: float | Float[Array, ""] = 0.1,
    every: int | None = None,
    record: Callable[[LinearAttentionStack], PyTree] | None = None,
) -> Fit:
    """Train a randomly started stack by Adam, with a cosine schedule and gradients clipped to norm 1.

    It descends the loss's logarithm, so that steps do not shrink while the loss falls by orders of magnitude.

    **Arguments:**

    - `loss`: `(stack, batch) -> scalar`, positive.
    - `layers`, `dim`: the stack's.
    - `batch`: draws a step's batch.
    - `key`: the randomness of the start and of the batches.
    - `scale`: of the start; see [`LinearAttentionStack.random`][armillary.nn.LinearAttentionStack.random].
    - `rewriting`: the rewrites are multiplied by it. At 0 every layer sees the inputs as they are; a traced number,
      so that both stacks are one program.
    - `steps`, `rate`: of Adam; the rate is the first one.
    - `every`, `record`: as in [`fit`][armillary.train.fit], by default the start only.

    **Returns:** a [`Fit`][armillary.train.Fit] whose `params` are the stack, and whose `loss` is the logarithm.
    """
    k_start, k_batches = jax.random.split(key)
    use = lambda stack: eqx.tree_at(lambda s: s.rewrites, stack, rewriting * stack.rewrites)
    run = fit(
        lambda stack, now: jnp.log(loss(use(stack), now)),
        LinearAttentionStack.random(layers, dim, k_start, scale=scale),
        batch,
        optax.chain(optax.clip_by_global_norm(1.0), optax.adam(optax.cosine_decay_schedule(rate, steps))),
        steps=steps,
        key=k_batches,
        every=steps if every is None else every,
        record=None if record is None else lambda stack: record(use(stack)),
    )
    return run._replace(params=use(run.params))
