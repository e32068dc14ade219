"""A shallow network whose hidden weights are drawn once from a bounded set; only the last layer is fitted."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def gaussian_bump(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """exp(−z²/2)."""
    return jnp.exp(-(z**2) / 2)


class RandomFeatures(eqx.Module):
    """σ(aⱼ · x − bⱼ) with frozen a and b: a uniform in [−Ω, Ω], b uniform over the values that a · x takes.

    "How Powerful are Shallow Neural Networks with Bandlimited Random Weights?" (2020): Ω bounds the frequencies that a sum
    of features with bounded coefficients can have. Igelnik and Pao 1995 drew them so.
    """

    slopes: Float[Array, "width inputs"]
    offsets: Float[Array, " width"]
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        key: Key[Array, ""],
        width: int,
        weight_range: float | Float[Array, ""],
        *,
        box: float | Float[Array, " inputs"] = 1.0,
        inputs: int = 1,
        activation: Callable[[Array], Array] = gaussian_bump,
    ):
        """**Arguments:**

        - `width`: how many features.
        - `weight_range`: Ω; may be traced. The same key draws the same features, scaled.
        - `box`: the inputs lie in [−box, box], one number or one for each input.
        - `inputs`: how many there are.
        - `activation`: σ, elementwise.
        """
        k_slope, k_offset = jax.random.split(key)
        self.slopes = weight_range * jax.random.uniform(k_slope, (width, inputs), minval=-1.0)
        reach = jnp.sum(abs(self.slopes) * box, 1)
        self.offsets = reach * jax.random.uniform(k_offset, (width,), minval=-1.0)
        self.activation = activation

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch width"]:
        """The features of inputs."""
        return self.activation(x @ self.slopes.T - self.offsets)
