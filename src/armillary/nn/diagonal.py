"""The diagonal linear network."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float


class DiagonalLinear(eqx.Module):
    """The predictor x ↦ ⟨u² - v², x⟩: linear in x, quadratic in what is trained.

    "Kernel and Rich Regimes in Overparametrized Models" (Woodworth et al. 2020, section 4).
    """

    u: Float[Array, " dim"]
    v: Float[Array, " dim"]

    def __init__(self, dim: int, scale: float | Float[Array, ""] = 1.0):
        """Start at u = v = `scale` everywhere, where the predictor is 0."""
        self.u = jnp.full(dim, scale)
        self.v = jnp.full(dim, scale)

    @property
    def coefficients(self) -> Float[Array, " dim"]:
        """The linear predictor's coefficients, u² - v²."""
        return self.u**2 - self.v**2

    def __call__(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """The prediction for each x."""
        return x @ self.coefficients
