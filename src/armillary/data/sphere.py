"""Uniform points on a sphere."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def unit_sphere(key: Key[Array, ""], dim: int, *shape: int) -> Float[Array, "*shape dim"]:
    """Independent uniform vectors of length 1."""
    x = jax.random.normal(key, (*shape, dim))
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)
