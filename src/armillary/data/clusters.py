"""Gaussian clusters in many dimensions."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key


class XorClusters(NamedTuple):
    """Examples of the XOR of two directions."""

    x: Float[Array, "examples dim"]
    y: Float[Array, " examples"]
    """Labels ±1, some of them wrong."""
    flipped: Bool[Array, " examples"]
    """Which labels are wrong."""


def xor_clusters(
    key: Key[Array, ""],
    examples: int,
    dim: int,
    *,
    mean: float | Float[Array, ""],
    flip: float | Float[Array, ""] = 0.0,
) -> XorClusters:
    """Four Gaussian clusters of unit variance: around ±μ₁ with label 1, around ±μ₂ with label -1.

    No linear classifier beats chance on them: "Benign Overfitting and Grokking in ReLU Networks for XOR Cluster Data"
    (2023), section 2.

    **Arguments:**

    - `key`: clusters (each as likely), noise, and which labels are flipped.
    - `examples`: how many.
    - `dim`: of the inputs, at least 2; μ₁ lies along the first coordinate, μ₂ along the second.
    - `mean`: ‖μ₁‖ = ‖μ₂‖, in units of the noise's standard deviation; may be traced.
    - `flip`: the share of labels that are wrong, rounded to a whole number of them; may be traced.
    """
    k_cluster, k_noise, k_flip = jax.random.split(key, 3)
    axis, sign = jax.random.bernoulli(k_cluster, shape=(2, examples)).astype(float)
    centre = mean * (2 * sign - 1)
    x = jax.random.normal(k_noise, (examples, dim))
    x = x.at[:, 0].add(centre * (1 - axis)).at[:, 1].add(centre * axis)
    flipped = jax.random.permutation(k_flip, examples) < jnp.round(flip * examples)
    return XorClusters(x, jnp.where(flipped, -1, 1) * (1 - 2 * axis), flipped)
