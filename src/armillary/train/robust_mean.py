"""Means of per-example gradients that a few examples cannot move, and their use in `fit`."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

Reduce = Callable[[PyTree], PyTree]


def winsorized_mean(stack: PyTree[Float[Array, "m ..."]], clip: int) -> PyTree[Float[Array, "..."]]:
    """The mean over the leading axis, the `clip` largest and smallest values of each coordinate clipped.

    "On the Generalization Mystery in Deep Learning" (2022), winsorized gradient descent. Costs a sort a
    coordinate; `clip=0` is the mean.

    **Raises:** `ValueError` if 2·`clip` is m or more.
    """

    def reduce(x: Array) -> Array:
        if not 0 <= 2 * clip < len(x):
            raise ValueError(f"clip={clip} on either side of {len(x)} values leaves none")
        if clip == 0:
            return x.mean(0)
        order = jnp.sort(x, axis=0)
        return jnp.clip(x, order[clip], order[-1 - clip]).mean(0)

    return jax.tree.map(reduce, stack)


def median_of_means(
    stack: PyTree[Float[Array, "m ..."]], groups: int | None = None
) -> PyTree[Float[Array, "..."]]:
    """The coordinate-wise median over the means of consecutive groups of the leading axis.

    **Arguments:**

    - `stack`: m values (gradients, say) along the leading axis of each leaf.
    - `groups`: how many; m by default, where the stack already holds the groups' means.

    **Raises:** `ValueError` if m is no multiple of `groups`.
    """

    def reduce(x: Array) -> Array:
        count = groups or len(x)
        if len(x) % count:
            raise ValueError(f"{len(x)} values do not make {count} equal groups")
        x = x.reshape(count, -1, *x.shape[1:]).mean(1)
        if count == 3:  # a sort along so short an axis costs 20 times as much
            a, b, c = x
            return jnp.maximum(jnp.minimum(a, b), jnp.minimum(jnp.maximum(a, b), c))
        return jnp.median(x, axis=0)

    return jax.tree.map(reduce, stack)


def reduced_gradient(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]], reduce: Reduce, *, groups: int | None = None
) -> Callable[[PyTree, PyTree], tuple[Float[Array, ""], PyTree]]:
    """A gradient for `fit(gradient=...)` that combines the gradients of equal groups of the batch.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`, a mean over the batch's leading axis.
    - `reduce`: the groups' gradients, stacked, → one gradient, such as
      [`median_of_means`][armillary.train.median_of_means].
    - `groups`: how many consecutive groups the batch is cut into; an example each by default.

    **Returns:** `(params, batch) -> (mean loss, reduced gradient)`.
    """

    def gradient(params: PyTree, batch: PyTree) -> tuple[Array, PyTree]:
        size = len(jax.tree.leaves(batch)[0])
        cut = jax.tree.map(lambda x: x.reshape(groups or size, -1, *x.shape[1:]), batch)
        values, grads = jax.vmap(eqx.filter_value_and_grad(loss), in_axes=(None, 0))(params, cut)
        return values.mean(), reduce(grads)

    return gradient
