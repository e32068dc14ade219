"""Features as free parameters: trained near given ones, with a ridge-optimal linear classifier on top.

"Perturbation Analysis of Neural Collapse" (2022). With features H (an example a row), targets Y and a classifier W, the
objective is ‖H Wᵀ - Y‖²/2 + n λ_W ‖W‖²/2 + λ_H ‖H - H₀‖²/2, n the number of examples of a class.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import solve_positive


def ridge_classifier(
    features: Float[Array, "examples width"],
    targets: Float[Array, "examples outputs"],
    penalty: float | Float[Array, ""],
) -> Float[Array, "outputs width"]:
    """The W that minimizes ‖H Wᵀ - Y‖² + penalty · ‖W‖².

    **Arguments:**

    - `features`: H.
    - `targets`: Y.
    - `penalty`: n λ_W, positive.
    """
    width = features.shape[1]
    gram = features.T @ features + penalty * jnp.eye(width)
    return solve_positive(gram, features.T @ targets).T


def central_path(
    penalty: float | Float[Array, ""],
    pull: float | Float[Array, ""] = 0.0,
    start: Float[Array, "examples width"] | float = 0.0,
) -> Callable[[Float[Array, "examples width"], Float[Array, "examples outputs"]], tuple[Array, Array]]:
    """The `gradient=` of [`fit`][armillary.train.fit] that moves features H while W stays optimal for them.

    **Arguments:**

    - `penalty`: n λ_W.
    - `pull`: λ_H; 0 leaves the fit alone, the limit of a small vicinity.
    - `start`: H₀, where there is a pull.

    **Returns:** `(H, Y) -> (‖H Wᵀ - Y‖²/2, (H Wᵀ - Y) W + λ_H (H - H₀))`.
    """

    def gradient(features: Array, targets: Array) -> tuple[Array, Array]:
        classifier = ridge_classifier(features, targets, penalty)
        residual = features @ classifier.T - targets
        return jnp.sum(residual**2) / 2, residual @ classifier + pull * (features - start)

    return gradient


class FeaturesNear(NamedTuple):
    """A stationary point of the features near given ones."""

    features: Float[Array, "examples width"]
    classifier: Float[Array, "outputs width"]
    """The ridge classifier of those features."""
    contraction: Float[Array, "width width"]
    """M = λ_H (WᵀW + λ_H I)⁻¹, by which deviations from a class mean have been multiplied where targets are
    constant within a class."""


def features_near(
    start: Float[Array, "examples width"],
    targets: Float[Array, "examples outputs"],
    penalty: float | Float[Array, ""],
    pull: float | Float[Array, ""],
    *,
    rounds: int = 500,
) -> FeaturesNear:
    """Minimize over W and H in turn, each exactly.

    **Arguments:**

    - `start`: H₀.
    - `targets`: Y.
    - `penalty`: n λ_W.
    - `pull`: λ_H, positive.
    - `rounds`: of one minimization each.
    """
    eye = jnp.eye(start.shape[1])

    def normal(classifier: Array) -> Array:
        return classifier.T @ classifier + pull * eye

    def step(features: Array, _: None) -> tuple[Array, None]:
        classifier = ridge_classifier(features, targets, penalty)
        right = targets @ classifier + pull * start
        return solve_positive(normal(classifier), right.T).T, None

    features, _ = jax.lax.scan(step, start, length=rounds)
    classifier = ridge_classifier(features, targets, penalty)
    return FeaturesNear(features, classifier, pull * solve_positive(normal(classifier), eye))
