"""The activation whose infinitely wide and deep network is a consistent classifier."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.data import hermite


class HermiteActivation(eqx.Module):
    """φ(x) = Σⱼ aⱼ hⱼ(x), hⱼ the Hermite polynomials of variance 1 under N(0, 1)."""

    coefficients: tuple[float, ...] = eqx.field(static=True)
    """a₀, a₁, …"""

    def __call__(self, x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
        """φ at each entry."""
        return sum((a * hermite(k, x) for k, a in enumerate(self.coefficients)), jnp.zeros_like(x))


def optimal_activation(dim: int, *, low: int = 1) -> HermiteActivation:
    """2^(-d/4) h₃ + √(1 - 2·2^(-d/2)) h₂ + 2^(-d/4) h₁, for data on a sphere of d dimensions.

    "Wide and Deep Neural Networks Achieve Optimality for Classification" (2022), equation 11: E φ'² = 2 and
    E φ' = 2^(-d/4), so that its infinitely deep network weighs an example by its distance to the power -d.

    **Arguments:**

    - `dim`: d, at least 2.
    - `low`: the polynomial beside h₂ and h₃: 1 is the paper's; 0 makes a majority vote of it, 2 the nearest neighbour.

    **Raises:** `ValueError` if `dim` is below 2 or `low` not 0, 1 or 2.
    """
    if dim < 2 or low not in (0, 1, 2):
        raise ValueError(f"dim={dim}, low={low}: expected dim of at least 2, and low of 0, 1 or 2")
    squares = [0.0, 0.0, 1 - 2 * 2 ** (-dim / 2), 2 ** (-dim / 2)]
    squares[low] += 2 ** (-dim / 2)
    return HermiteActivation(tuple(max(0.0, s) ** 0.5 for s in squares))
