"""Spread within classes and between them."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class Scatter(NamedTuple):
    """Covariance matrices of features."""

    within: Float[Array, "width width"]
    """Around each example's class mean."""
    between: Float[Array, "width width"]
    """Of the class means, each class counting the same."""

    @property
    def ratio(self) -> Float[Array, ""]:
        """tr(within) / tr(between): 0 where each class is one point."""
        return jnp.trace(self.within) / jnp.trace(self.between)


def class_scatter(
    features: Float[Array, "examples width"], labels: Int[Array, " examples"], classes: int
) -> Scatter:
    """The covariance of features within classes and between class means.

    **Arguments:**

    - `features`: an example a row.
    - `labels`: 0 to classes - 1; every class needs an example.
    - `classes`: how many.
    """
    member = jax.nn.one_hot(labels, classes, dtype=features.dtype)
    means = (member.T @ features) / member.sum(0)[:, None]
    within = features - means[labels]
    spread = means - means.mean(0)
    return Scatter(within.T @ within / len(features), spread.T @ spread / classes)
