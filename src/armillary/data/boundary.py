"""Two classes whose density at their boundary follows a power law."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def boundary_perceptron(
    key: Key[Array, ""],
    n: int,
    dim: int,
    chi: float | Float[Array, ""] = 0.0,
    *,
    gap: float | Float[Array, ""] = 0.0,
) -> tuple[Float[Array, "n dim"], Float[Array, " n"]]:
    """Gaussian inputs but for the first coordinate, whose sign is the label: |x₁| - gap has density ∝ r^χ exp(-r²/2).

    The closest of n examples lies about n^(-1/(1+χ)) from the boundary, where there is no gap: "Dissecting the Effects of
    SGD Noise in Distinct Regimes of Deep Learning" (2023).

    **Arguments:**

    - `key`: the draw.
    - `n`, `dim`: how many examples, with how many coordinates.
    - `chi`: χ > -1; 0 is the half-normal density; may be traced.
    - `gap`: the least |x₁|; may be traced.

    **Returns:** inputs, and labels ±1.
    """
    k_distance, k_rest, k_sign = jax.random.split(key, 3)
    distance = jnp.sqrt(2 * jax.random.gamma(k_distance, (chi + 1) / 2, (n,)))
    y = jax.random.rademacher(k_sign, (n,), float)
    x = jax.random.normal(k_rest, (n, dim))
    return x.at[:, 0].set(y * (gap + distance)), y
