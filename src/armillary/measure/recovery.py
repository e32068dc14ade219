"""Whether a network found the feature that a target was made of."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def feature_recovery(
    feature: Float[Array, "*batch examples"], truth: Float[Array, "*batch examples"]
) -> Float[Array, "*batch"]:
    """The correlation, without its sign, of a learned feature and the true one: 1 where one is the other, up to
    a factor and a constant; 0 for a constant feature.

    **Arguments:**

    - `feature`: values on inputs that training has not seen.
    - `truth`: the true feature's values on the same inputs.
    """
    a = feature - feature.mean(-1, keepdims=True)
    b = truth - truth.mean(-1, keepdims=True)
    norms = jnp.sqrt(jnp.sum(a**2, -1) * jnp.sum(b**2, -1))
    return jnp.abs(jnp.sum(a * b, -1)) / jnp.where(norms > 0, norms, 1.0)
