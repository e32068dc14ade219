"""What a fully connected network becomes that is infinitely wide and very deep: its kernels, and its classifier."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class DeepKernels(NamedTuple):
    """Logarithms, since a deep network's kernels leave the range of floats."""

    conjugate: Float[Array, " points"]
    """log Σ(t), the correlation of the last layer's pre-activations."""
    tangent: Float[Array, " points"]
    """log Θ(t), the neural tangent kernel."""
    diagonal: Float[Array, ""]
    """log Θ(1)."""


class DepthLimit(NamedTuple):
    """What `infinite_depth_rule` returns."""

    rule: Literal["majority", "nearest", "singular", "none"]
    """`majority`: the more frequent label. `nearest`: the nearest example's. `singular`: the labels' average with
    weights that grow without limit towards an example. `none`: the theorem does not apply."""
    order: float
    """a in weights ~ distance^(-a); 0 for a majority vote, ∞ for the nearest neighbour, NaN for none."""


def infinite_depth_rule(coefficients: Sequence[float] | Float[np.ndarray, " degrees"]) -> DepthLimit:
    """The classifier that an infinitely wide and deep network with this activation is.

    "Wide and Deep Neural Networks Achieve Optimality for Classification" (2022), theorem 1: for an activation with
    E φ² = 1 and E φ'² > 1 it depends on E φ and E φ' alone, and where E φ = 0 ≠ E φ' its order is
    a = -4 log|E φ'| / log E φ'² of standard normal arguments.

    **Arguments:**

    - `coefficients`: of φ in the normalized Hermite polynomials h₀, h₁, … ([`hermite`][armillary.data.hermite]); the
      squares' sum is 1.

    **Raises:** `ValueError` if the squares do not sum to 1.

    **Example:**

    ```python
    from armillary.measure import infinite_depth_rule
    from armillary.nn import optimal_activation

    infinite_depth_rule(optimal_activation(3).coefficients)  # singular, of order 3
    infinite_depth_rule([0.0, 0.0, 1.0])  # the nearest neighbour's label
    ```
    """
    squares = np.square(np.asarray(coefficients, float))
    if abs(squares.sum() - 1) > 1e-6:
        raise ValueError(f"the squared coefficients sum to {squares.sum():g}: expected 1, for E φ² = 1")
    mean, slope = squares[0], squares[1] if len(squares) > 1 else 0.0
    growth = float(np.arange(len(squares)) @ squares)
    if growth <= 1:
        return DepthLimit("none", float("nan"))
    if mean > 0:
        return DepthLimit("majority", 0.0)
    if slope == 0:
        return DepthLimit("nearest", float("inf"))
    return DepthLimit("singular", float(-2 * np.log(slope) / np.log(growth)))


def deep_kernels(squares: Float[Array, " degrees"], t: Float[Array, " points"], depth: int) -> DeepKernels:
    """The conjugate and the tangent kernel of an infinitely wide network on the sphere.

    With the dual activation c(t) = Σⱼ aⱼ² tʲ, from Σ = Θ = t, layer by layer: Θ ← c(Σ) + Θ c'(Σ), Σ ← c(Σ)
    ("Neural Tangent Kernel", Jacot and others 2018, theorem 1, for N(0, 1) weights scaled by 1/√width, no biases). Wants
    64 bit.

    **Arguments:**

    - `squares`: aⱼ², the activation's squared Hermite coefficients, with sum 1; may be traced.
    - `t`: cosines between inputs, above 0 and below 1 (where rounding grows from layer to layer).
    - `depth`: hidden layers.
    """
    degree = jnp.arange(len(squares))
    log = lambda b: jnp.where(b > 0, jnp.log(jnp.where(b > 0, b, 1)), -jnp.inf)[:, None]
    power = lambda k, x: jnp.where(k > 0, k * x, 0.0)  # 0 · -∞ is 0 here
    values, slopes = log(squares), log(squares * degree)
    up, down = degree[:, None], jnp.maximum(degree - 1, 0)[:, None]

    def layer(state: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        conjugate, tangent = state
        value = jax.nn.logsumexp(values + power(up, conjugate), axis=0)
        slope = jax.nn.logsumexp(slopes + power(down, conjugate), axis=0)
        return (value, jnp.logaddexp(value, tangent + slope)), None

    (conjugate, tangent), _ = jax.lax.scan(layer, (jnp.log(t), jnp.log(t)), None, length=depth)
    # On the diagonal Σ stays 1, which rounding would not: Θ(1) = 1 + c'(1) + … + c'(1)^depth.
    growth = jnp.log(jnp.sum(squares * degree))
    return DeepKernels(conjugate, tangent, jax.nn.logsumexp(growth * jnp.arange(depth + 1)))
