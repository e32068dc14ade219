"""When a network fits its training set, when it generalizes, and what kind of function it is meanwhile."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Timeline(NamedTuple):
    """The phases of a training run; times are ∞ where a phase is not reached."""

    fitted: Float[Array, ""]
    """When the training accuracy first reaches its level."""
    generalized: Float[Array, ""]
    """When the test accuracy first reaches its level."""
    delay: Float[Array, ""]
    """The second minus the first: positive under grokking; NaN where neither is reached."""
    benign: Bool[Array, ""]
    """Whether both hold at the end: what is wrong in the training set is fitted, and does no harm."""


def overfitting_timeline(
    time: Float[Array, " points"],
    train: Float[Array, " points"],
    test: Float[Array, " points"],
    *,
    fitted: float = 0.99,
    generalized: float = 0.95,
) -> Timeline:
    """The phases of a training run, from its accuracies.

    **Arguments:**

    - `time`: steps, or whatever the run is measured in, increasing.
    - `train`: accuracy on the training labels, wrong ones included.
    - `test`: accuracy on clean labels of fresh examples.
    - `fitted`, `generalized`: the levels that the two must reach.
    """

    def first(reached: Array) -> Array:
        return jnp.where(reached.any(), time[jnp.argmax(reached)], jnp.inf)

    fit, general = first(train >= fitted), first(test >= generalized)
    return Timeline(fit, general, general - fit, (train[-1] >= fitted) & (test[-1] >= generalized))


class GrokkingDelay(NamedTuple):
    """How long after the training loss the test loss falls."""

    delay: Float[Array, ""]
    """log₁₀ of the ratio of the two times; 0 if the training set is not fitted either."""
    censored: Bool[Array, ""]
    """Whether the test loss never got there: the delay is then the least that it may be."""
    fitted: Float[Array, ""]
    """When the training loss got there; the last time if it did not."""
    generalized: Float[Array, ""]
    """When the test loss got there; the last time if it did not."""


def grokking_delay(
    time: Float[Array, " points"],
    train: Float[Array, " points"],
    test: Float[Array, " points"],
    *,
    threshold: float,
) -> GrokkingDelay:
    """How many orders of magnitude in time lie between fitting and generalizing.

    "Grokking as the Transition from Lazy to Rich Training Dynamics" (2023).

    **Arguments:**

    - `time`: steps, or whatever the run is measured in, increasing and positive.
    - `train`, `test`: the losses.
    - `threshold`: the level that both must reach.
    """
    phases = overfitting_timeline(time, -train, -test, fitted=-threshold, generalized=-threshold)
    fitted, generalized = jnp.minimum(phases.fitted, time[-1]), jnp.minimum(phases.generalized, time[-1])
    return GrokkingDelay(jnp.log10(generalized / fitted), jnp.isinf(phases.generalized), fitted, generalized)


def oddness(outputs: Float[Array, " examples"], mirrored: Float[Array, " examples"]) -> Float[Array, ""]:
    """Correlation of f(x) with -f(-x) over the examples: 1 for a linear function without bias, -1 for an even one.

    **Arguments:**

    - `outputs`: f at the examples.
    - `mirrored`: f at their negatives.
    """
    return jnp.corrcoef(outputs, -mirrored)[0, 1]
