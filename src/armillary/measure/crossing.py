"""When a curve reaches a level."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def first_crossing(
    time: Float[Array, " times"], curve: Float[Array, "times *curves"], level: float | Float[Array, "*curves"]
) -> Float[Array, "*curves"]:
    """When a curve first crosses `level`, from the side that it starts on, interpolated linearly; ∞ if never."""
    above = curve >= level
    crossed = above != above[0]
    after = jnp.maximum(jnp.argmax(crossed, 0), 1)
    low, high = (jnp.take_along_axis(curve, i[None], 0)[0] for i in (after - 1, after))
    share = (level - low) / jnp.where(high == low, 1, high - low)
    when = time[after - 1] + share * (time[after] - time[after - 1])
    return jnp.where(crossed.any(0), when, jnp.inf)
