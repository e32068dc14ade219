"""Whether inputs near a decision boundary look like a Gaussian's."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import eigvalsh


class StripMoments(NamedTuple):
    """Deviations from a standard Gaussian; 0 is none. Those of a strip without inputs are infinite."""

    mass: Float[Array, ""]
    """Of the share of inputs in the strip, relative."""
    second: Float[Array, ""]
    """Of the second moments of those in the strip, across the boundary's normal: operator norm."""
    fourth: Float[Array, ""]
    """Of E xᵢ⁴ from 3 and E xᵢ² xⱼ² from 1, over all inputs: the largest, relative."""


def strip_moments(
    x: Float[Array, "examples inputs"], direction: Float[Array, " inputs"], width: float
) -> StripMoments:
    """Compare inputs, all and those with |w · x| ≤ width, with a standard Gaussian's.

    "An Efficient Tester-Learner for Halfspaces" (2023), section 4: that a halfspace is stationary for a surrogate loss says
    something only if its strip holds enough inputs, spread in all directions.

    **Arguments:**

    - `direction`: w, the boundary's normal; its length does not matter.
    """
    w = direction / jnp.linalg.norm(direction)
    inside = (abs(x @ w) <= width).astype(x.dtype)
    share = jnp.mean(inside)
    expected = jax.scipy.special.erf(width / jnp.sqrt(2.0))
    flat = x - jnp.outer(x @ w, w)
    moments = (flat * inside[:, None]).T @ flat / jnp.maximum(jnp.sum(inside), 1)
    off = moments - (jnp.eye(len(w), dtype=x.dtype) - jnp.outer(w, w))
    squares = x**2
    fourth = squares.T @ squares / len(x)
    normal = 1 + 2 * jnp.eye(len(w), dtype=x.dtype)
    empty = share == 0
    return StripMoments(
        abs(share / expected - 1),
        jnp.where(empty, jnp.inf, jnp.max(abs(eigvalsh(off)))),
        jnp.max(abs(fourth / normal - 1)),
    )
