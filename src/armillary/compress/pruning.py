"""Which weights to remove."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


def global_magnitude_mask(
    params: PyTree[Array], sparsity: float, *, min_keep: int = 0
) -> PyTree[Bool[Array, "..."]]:
    """Mark the weights to keep when the smallest in magnitude go, under one threshold over all arrays.

    "Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning" (2022), with its
    floor of weights that every layer keeps. Of weights equal in magnitude at the threshold the earlier are kept.

    **Arguments:**

    - `params`: a pytree of arrays, all of which may be pruned.
    - `sparsity`: the share to remove, 0 to 1, rounded to whole weights.
    - `min_keep`: every array keeps its so many largest, beyond the share if need be.

    **Raises:** `ValueError` for a sparsity outside [0, 1].
    """
    if not 0 <= sparsity <= 1:
        raise ValueError(f"sparsity={sparsity} must lie between 0 and 1")
    leaves, structure = jax.tree.flatten(params)
    size = [jnp.abs(leaf).ravel() for leaf in leaves]
    every = jnp.concatenate(size)
    keep = every.size - round(sparsity * every.size)
    mask = jnp.zeros(every.size, bool).at[jnp.argsort(-every, stable=True)[:keep]].set(True)
    masks, place = [], 0
    for leaf, own in zip(leaves, size):
        part = mask[place : place + own.size]
        if min_keep:
            part = part.at[jnp.argsort(-own, stable=True)[:min_keep]].set(True)
        masks.append(part.reshape(leaf.shape))
        place += own.size
    return jax.tree.unflatten(structure, masks)
