"""How much of a representation each feature that it carries takes up."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Num


def feature_variance_share(
    representation: Float[Array, "examples units"], labels: Num[Array, "examples features"]
) -> Float[Array, " features"]:
    """The share of the representation's variance that regression on each label alone explains.

    It is R² with all units' variances summed, so that units that vary more count more. For independent labels the
    shares add up to at most 1 (up to sampling). "Learned feature representations are biased by complexity, learning
    order, position, and more" (2024), section 3.

    **Arguments:**

    - `representation`: of examples that were not trained on.
    - `labels`: each feature's label of the same examples, numbers; a label that does not vary gets NaN.
    """
    centred = representation - jnp.mean(representation, 0)
    labels = labels - jnp.mean(labels, 0)
    explained = jnp.sum((labels.T @ centred) ** 2, 1) / jnp.sum(labels**2, 0)
    return explained / jnp.sum(centred**2)
