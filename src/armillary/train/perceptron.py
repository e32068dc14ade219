"""Linear separators by batch updates: logistic regression at any step size, its perceptron limit, normalized.

All of them update θ ← θ + γ Σᵢ pᵢ zᵢ w(zᵢ·θ) from θ = 0, where zᵢ = yᵢxᵢ with yᵢ = ±1, pᵢ is the example's
share (1/n) and w weighs its margin; they differ in w. Source: "From Logistic Regression to the Perceptron
Algorithm: Exploring Gradient Descent with Large Step Sizes" (2024).
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

Weigh = Callable[[Float[Array, " n"]], Float[Array, " n"]]


class Separator(NamedTuple):
    """Where an algorithm stopped."""

    theta: Float[Array, " d"]
    """The direction; it separates the data if `iterations` is below the limit."""
    iterations: Int[Array, ""]
    """Updates until every margin was positive; `max_iter` if that never happened, or θ overflowed."""


def perceptron_weights(margins: Float[Array, " n"]) -> Float[Array, " n"]:
    """1 for a misclassified example, 1/2 for one on the plane, 0 otherwise: the limit of s(-γ·margin)."""
    return 0.5 * (1.0 - jnp.sign(margins))


def logistic_weights(margins: Float[Array, " n"]) -> Float[Array, " n"]:
    """s(-margin), the probability that the model gives the wrong class: minus the logistic loss's slope."""
    return jax.nn.sigmoid(-margins)


def _update(z: Array, weigh: Weigh, step: float | Array, share: Array | None, theta: Array) -> Array:
    weights = weigh(z @ theta)
    weights = weights / len(z) if share is None else share * weights
    return theta + step * (weights @ z)


def separate(
    z: Float[Array, "n d"],
    weigh: Weigh,
    step: float | Float[Array, ""],
    *,
    max_iter: int,
    share: Float[Array, " n"] | None = None,
) -> Separator:
    """Update until every margin is positive.

    **Arguments:**

    - `z`: yᵢxᵢ, one row an example (append a constant 1 to x for a bias).
    - `weigh`: margins → weights, such as [`logistic_weights`][armillary.train.logistic_weights].
    - `step`: γ.
    - `max_iter`: where to give up. A diverging θ is given up as soon as it is not finite.
    - `share`: the examples' shares, summing to 1, in place of 1/n (copies need not be stored).
    """

    def go_on(state: tuple[Array, Array]) -> Array:
        theta, count = state
        margins = z @ theta
        return (count < max_iter) & ~jnp.all(margins > 0) & jnp.all(jnp.isfinite(margins))

    def body(state: tuple[Array, Array]) -> tuple[Array, Array]:
        return _update(z, weigh, step, share, state[0]), state[1] + 1

    theta, count = jax.lax.while_loop(go_on, body, (jnp.zeros(z.shape[1], z.dtype), jnp.array(0)))
    return Separator(theta, jnp.where(jnp.all(z @ theta > 0), count, max_iter))


def iterates(
    z: Float[Array, "n d"],
    weigh: Weigh,
    step: float | Float[Array, ""],
    *,
    steps: int,
    share: Float[Array, " n"] | None = None,
) -> Float[Array, "steps d"]:
    """θ after 1, 2, …, `steps` updates from 0; the arguments of [`separate`][armillary.train.separate]."""

    def body(theta: Array, _: None) -> tuple[Array, Array]:
        theta = _update(z, weigh, step, share, theta)
        return theta, theta

    return jax.lax.scan(body, jnp.zeros(z.shape[1], z.dtype), length=steps)[1]


def batch_perceptron(
    z: Float[Array, "n d"], *, max_iter: int, share: Float[Array, " n"] | None = None
) -> Separator:
    """The batch perceptron, θ ← θ + (1/n) Σ zᵢ over misclassified i: the infinite-step limit of θ/γ.

    It needs at most n·R²/μ² updates (R the largest ‖zᵢ‖, μ the margin).
    """
    return separate(z, perceptron_weights, 1.0, max_iter=max_iter, share=share)


def logistic_gd(
    z: Float[Array, "n d"],
    gamma: float | Float[Array, ""],
    *,
    max_iter: int,
    share: Float[Array, " n"] | None = None,
) -> Separator:
    """Gradient descent with step γ on the mean logistic loss Σ pᵢ log(1 + exp(-zᵢ·θ)).

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.train import batch_perceptron, logistic_gd

    x = jax.random.normal(jax.random.key(0), (100, 10))
    z = x * jnp.sign(x[:, :1])  # labels times inputs: separable by the first coordinate
    logistic_gd(z, gamma=1e4, max_iter=10_000).iterations, batch_perceptron(z, max_iter=10_000).iterations
    ```
    """
    return separate(z, logistic_weights, gamma, max_iter=max_iter, share=share)


def normalized_logistic_gd(
    z: Float[Array, "n d"],
    gamma: float | Float[Array, ""] = jnp.inf,
    *,
    max_iter: int,
    share: Float[Array, " n"] | None = None,
) -> Separator:
    """Logistic gradient descent, each step divided by the mean misclassification probability Σ pᵢ s(-zᵢ·θ).

    Every step is then γ times a convex combination of the zᵢ; as γ grows the number of updates is at most
    R²/μ², without the factor n. The returned θ is divided by γ. `gamma = inf` averages the misclassified.
    """
    log_share = jnp.log(jnp.full(len(z), 1 / len(z), z.dtype) if share is None else share)

    def weigh(margins: Array) -> Array:
        # log s(-γm) - log s(0⁻) in the limit: 0, -log 2 and -∞ for wrong, on the plane and right.
        limit = jnp.log(perceptron_weights(margins))
        finite = jax.nn.log_sigmoid(-jnp.where(jnp.isinf(gamma), 1.0, gamma) * margins)
        return jax.nn.softmax(log_share + jnp.where(jnp.isinf(gamma), limit, finite))

    return separate(z, weigh, 1.0, max_iter=max_iter, share=jnp.ones(len(z), z.dtype))
