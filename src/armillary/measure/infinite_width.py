"""The prediction of infinitely wide trained networks of two layers, and how many to average before rounding."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Prediction(NamedTuple):
    """A Gaussian for each test input and output; outputs are independent and share their covariance."""

    mean: Float[Array, "tests outputs"]
    covariance: Float[Array, "tests tests"]


def arc_cosine(correlation: Float[Array, "*shape"]) -> tuple[Float[Array, "*shape"], Float[Array, "*shape"]]:
    """2 E relu'(u) relu'(v) and 2 E relu(u) relu(v) of standard normals of this correlation.

    Cho and Saul 2009, "Kernel Methods for Deep Learning", eqs. 3 to 6 for n = 0 and 1.
    """
    c = jnp.clip(correlation, -1.0, 1.0)
    angle = jnp.arccos(c)
    step = (jnp.pi - angle) / jnp.pi
    return step, c * step + jnp.sqrt(1 - c**2) / jnp.pi


def ntk_gaussian_process(
    x: Float[Array, "examples inputs"],
    y: Float[Array, "examples outputs"],
    test: Float[Array, "tests inputs"],
) -> Prediction:
    """What an infinitely wide two-layer ReLU network predicts after gradient descent on squared error to the end.

    The network is √(2/width) · V relu(W x) with standard normal V and W, both trained; inputs have length 1. Its
    tangent kernel is Θ = ρ κ₀(ρ) + κ₁(ρ) of the inputs' correlation ρ, its prior kernel κ₁. Lee et al. 2019, "Wide Neural
    Networks of Any Depth Evolve as Linear Models Under Gradient Descent", eqs. 14 to 16.

    **Arguments:**

    - `x`, `test`: of length 1 each.
    - `y`: what is fitted.
    """

    def kernels(a: Array, b: Array) -> tuple[Array, Array]:
        c = a @ b.T
        step, prior = arc_cosine(c)
        return c * step + prior, prior

    tangent, prior = kernels(x, x)
    tangent_test, prior_test = kernels(test, x)
    weights = jnp.linalg.solve(tangent, tangent_test.T).T
    mixed = weights @ prior_test.T
    covariance = kernels(test, test)[1] + weights @ prior @ weights.T - mixed - mixed.T
    return Prediction(weights @ y, covariance)


def ensemble_size(
    draws: Float[Array, "draws outputs"],
    gap: float | Float[Array, ""],
    deviation: float | Float[Array, ""],
    failure: float = 0.05,
) -> Float[Array, ""]:
    """The least number of networks whose average, rounded at the middle of the gap, has no output wrong too often.

    The average of N has the mean of one and the deviation over √N, so one draw of its errors says which N it needs.

    **Arguments:**

    - `draws`: standard normal, one for each output, towards the other side of the threshold.
    - `gap`: between the two means that are to be told apart.
    - `deviation`: of one network's output.
    - `failure`: the share of draws that may have an output wrong.
    """
    worst = jnp.maximum(jnp.max(draws, 1), 0.0)
    return jnp.ceil(jnp.quantile((2 * deviation * worst / gap) ** 2, 1 - failure))
