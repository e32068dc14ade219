"""Whitening."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import eigh


def whiten(
    x: Float[Array, "rows features"], components: int | None = None
) -> Float[Array, "rows components"]:
    """The rows' principal components, each centred and of mean square 1 over the rows.

    **Arguments:**

    - `x`: rows of any location and scale.
    - `components`: how many, the largest first; by default all. Those in which the rows do not differ have no scale:
      leave them out, as one for probabilities, which sum to 1.
    """
    count = x.shape[1] if components is None else components
    centred = x - x.mean(0)
    values, vectors = eigh(centred.T @ centred / len(x))
    return centred @ vectors[:, ::-1][:, :count] / jnp.sqrt(values[::-1][:count])
