"""How much a wrong learning rate costs."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def lr_sensitivity(
    losses: Float[Array, "*batch rates"], start: Float[Array, "*batch"] | float
) -> Float[Array, "*batch"]:
    """The mean over learning rates of the final loss above the best one, no loss counted above the start's.

    "Small-scale proxies for large-scale Transformer training instabilities" (2023), section 2.2. In the loss's
    unit. A final loss that is not finite counts as the start's.

    **Arguments:**

    - `losses`: final losses over a range of rates (evenly spaced in their logarithm).
    - `start`: the loss before training.
    """
    start = jnp.asarray(start)[..., None]
    capped = jnp.minimum(jnp.where(jnp.isfinite(losses), losses, start), start)
    return (capped - capped.min(-1, keepdims=True)).mean(-1)
