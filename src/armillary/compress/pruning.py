"""Which weights to remove."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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
    # NumPy finds a threshold without sorting; XLA on a CPU takes seconds for ten million weights.
    xp: Any = np if all(isinstance(leaf, np.ndarray) for leaf in leaves) else jnp
    size = [xp.abs(leaf).ravel() for leaf in leaves]
    every = xp.concatenate(size)
    mask = _largest(xp, every, every.size - round(sparsity * every.size))
    masks, place = [], 0
    for leaf, own in zip(leaves, size):
        part = mask[place : place + own.size]
        if min_keep:
            part = part | _largest(xp, own, min(min_keep, own.size))
        masks.append(part.reshape(leaf.shape))
        place += own.size
    return jax.tree.unflatten(structure, masks)


def _largest(xp: Any, values: Any, keep: int) -> Any:
    """A mask of the `keep` largest; of equal ones the first."""
    if keep == 0:
        return xp.zeros(values.size, bool)
    place = values.size - keep
    threshold = np.partition(values, place)[place] if xp is np else xp.sort(values)[place]
    above, equal = values > threshold, values == threshold
    return above | (equal & (xp.cumsum(equal) <= keep - above.sum()))
