"""Gradients of one example each."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def per_example_gradients(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]], params: PyTree, batch: PyTree
) -> PyTree[Float[Array, "m ..."]]:
    """The gradient of the loss of every example by itself.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`, a mean over the batch's leading axis; called on batches of one.
    - `params`: any pytree; its inexact arrays are differentiated (None stands for the rest).
    - `batch`: arrays whose leading axis runs over the m examples.

    **Returns:** the structure of `params`, each leaf with a leading axis of m.
    """
    single = jax.tree.map(lambda x: x[:, None], batch)
    return jax.vmap(eqx.filter_grad(loss), in_axes=(None, 0))(params, single)


def gradient_matrix(grads: PyTree[Float[Array, "m ..."]]) -> Float[Array, "m parameters"]:
    """Per-example gradients as one matrix: a row an example, parameters in the order of the leaves."""
    return jnp.concatenate([g.reshape(len(g), -1) for g in jax.tree.leaves(grads)], axis=1)
