"""Rounding weights to a few bits."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def round_symmetric(weights: Float[Array, "..."], bits: int) -> Float[Array, "..."]:
    """Round to the nearest of 2^bits - 1 evenly spaced values, symmetric about 0, the largest at max |weight|.

    The plain baseline of post-training quantization ("A White Paper on Neural Network Quantization", Nagel et al.
    2021, eq. 7, one scale an array). The error of an entry is at most half a step, max |weight| / (2^bits - 2).

    **Raises:** `ValueError` for fewer than 2 bits.
    """
    if bits < 2:
        raise ValueError(f"bits={bits}: a symmetric grid needs 2 or more")
    levels = 2 ** (bits - 1) - 1
    step = jnp.max(jnp.abs(weights)) / levels
    return jnp.where(step > 0, jnp.round(weights / jnp.where(step > 0, step, 1)) * step, weights)
