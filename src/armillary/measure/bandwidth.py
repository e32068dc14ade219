"""Which range of hidden weights a target needs."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import solve_positive


def approximation_errors(
    features: Float[Array, "points width"],
    targets: Float[Array, "points targets"],
    widths: Sequence[int],
    *,
    penalty: float | Float[Array, ""] = 1e-8,
) -> Float[Array, "widths targets"]:
    """Relative L² error of ridge regression of each target on the first features, for each width.

    **Arguments:**

    - `features`: of points dense enough that the error is one of approximation; in 64 bit, for penalties as small as
      these.
    - `penalty`: over the mean diagonal of the features' Gram matrix. It is the coefficients' budget: without one, analytic
      features reach any target at any range.
    """
    gram, moments = features.T @ features, features.T @ targets
    mean = jnp.trace(gram) / len(gram)

    def error(width: int) -> Array:
        ridge = gram[:width, :width] + penalty * mean * jnp.eye(width, dtype=gram.dtype)
        left = targets - features[:, :width] @ solve_positive(ridge, moments[:width])
        return jnp.linalg.norm(left, axis=0) / jnp.linalg.norm(targets, axis=0)

    return jnp.stack([error(width) for width in widths])


def bandwidth_floor(
    features: Callable[[Float[Array, ""]], Float[Array, "points width"]],
    targets: Float[Array, "points targets"],
    ranges: Float[Array, " ranges"],
    widths: Sequence[int],
    *,
    penalty: float = 1e-8,
) -> Float[Array, "ranges widths targets"]:
    """The errors of [`approximation_errors`][armillary.measure.approximation_errors] for each range of hidden weights.

    A range that is too small shows as an error that width does not lower. "How Powerful are Shallow Neural Networks with
    Bandlimited Random Weights?" (2020), section 5.

    **Arguments:**

    - `features`: `range -> features`, for instance of [`RandomFeatures`][armillary.nn.RandomFeatures].
    """
    one = lambda weight_range: approximation_errors(features(weight_range), targets, widths, penalty=penalty)
    return jax.lax.map(one, ranges)
