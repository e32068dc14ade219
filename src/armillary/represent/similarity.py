"""How alike two representations of the same examples are, and how many dimensions one uses."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def linear_cka(a: Float[Array, "examples p"], b: Float[Array, "examples q"]) -> Float[Array, ""]:
    """Linear centred kernel alignment, 0 to 1: 1 where one is the other rotated and scaled.

    "Similarity of Neural Network Representations Revisited" (Kornblith et al. 2019), eq. 5. Biased upward where there
    are few examples for the widths.
    """
    a, b = a - a.mean(0), b - b.mean(0)
    norms = jnp.linalg.norm(a.T @ a) * jnp.linalg.norm(b.T @ b)
    return jnp.sum((a.T @ b) ** 2) / norms


def effective_rank(features: Float[Array, "examples width"]) -> Float[Array, ""]:
    """exp of the entropy of the centred features' singular values: how many dimensions they use, 1 to width.

    "The Effective Rank: A Measure of Effective Dimensionality" (Roy and Vetterli 2007).
    """
    values = jnp.linalg.svd(features - features.mean(0), compute_uv=False)
    share = values / values.sum()
    return jnp.exp(-jnp.sum(jnp.where(share > 0, share * jnp.log(jnp.where(share > 0, share, 1)), 0)))
