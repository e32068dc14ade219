"""A three-layer network with one inner feature."""

from collections.abc import Callable

import equinox as eqx
import jax
from jaxtyping import Array, Float


class ThreeLayer(eqx.Module):
    """f(x) = c + Σⱼ aⱼ ReLU(sⱼ u(x) + bⱼ) of the feature u(x) = w·σ(Vᵀx + v₀) + w₀.

    A three-layer network whose middle layer's weight vectors all lie along one line, as they do after the first
    stage of [`layerwise_three_layer`][armillary.train.layerwise_three_layer].
    """

    first: Float[Array, "dim width"]
    """V."""
    first_bias: Float[Array, " width"]
    inner: Float[Array, " width"]
    """w."""
    inner_bias: Float[Array, ""]
    slopes: Float[Array, " outer"]
    biases: Float[Array, " outer"]
    outer: Float[Array, " outer"]
    """a."""
    constant: Float[Array, ""]
    activation: Callable[[Array], Array] = eqx.field(static=True)
    """σ."""

    def feature(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """u(x)."""
        return self.activation(x @ self.first + self.first_bias) @ self.inner + self.inner_bias

    def __call__(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """f(x)."""
        u = self.feature(x)[..., None]
        return self.constant + jax.nn.relu(self.slopes * u + self.biases) @ self.outer
