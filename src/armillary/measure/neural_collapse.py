"""Neural collapse: how nearly a classifier's last features have become one point a class."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


class NeuralCollapse(NamedTuple):
    """Four distances from full collapse; all 0 there. None where what they need was not given."""

    nc1: Float[Array, ""]
    """Variability: tr(Σ_W Σ_B⁺) / classes, spread within classes over spread between them."""
    nc2: Float[Array, ""]
    """Distance of the centred class means from a simplex of equal norms and angles, 0 to √2."""
    nc3: Float[Array, ""] | None
    """Distance of the classifier's rows from the centred class means, both of unit norm, 0 to 2."""
    nc4: Float[Array, ""] | None
    """The share of examples that the classifier does not give to the nearest class mean."""


def neural_collapse(
    features: Float[Array, "examples width"],
    labels: Int[Array, " examples"],
    classifier: Float[Array, "classes width"] | None = None,
    outputs: Float[Array, "examples classes"] | None = None,
    *,
    classes: int | None = None,
) -> NeuralCollapse:
    """The four measures of neural collapse.

    "Prevalence of Neural Collapse during the Terminal Phase of Deep Learning Training" (Papyan, Han, Donoho 2020);
    NC2 as the distance of Gram matrices, ‖MMᵀ/‖MMᵀ‖ - (I - 11ᵀ/C)/√(C-1)‖_F, after "A Geometric Analysis of Neural
    Collapse with Unconstrained Features" (Zhu et al. 2021, eq. 10).

    **Arguments:**

    - `features`: what the last layer reads.
    - `labels`: 0 to classes - 1; every class needs an example.
    - `classifier`: the last layer's weights, for NC3.
    - `outputs`: the last layer's outputs, for NC4.
    - `classes`: how many; by default the largest label plus 1.
    """
    count = int(jnp.max(labels)) + 1 if classes is None else classes
    member = jax.nn.one_hot(labels, count, dtype=features.dtype)
    sizes = member.sum(0)
    means = (member.T @ features) / sizes[:, None]
    centre = means.mean(0)
    spread = means - centre
    within = features - means[labels]
    # tr(Σ_W Σ_B⁺) through the spread's singular vectors: Σ_B⁺ has rank classes - 1.
    _, singular, directions = jnp.linalg.svd(spread / jnp.sqrt(count), full_matrices=False)
    kept = singular > singular[0] * 1e-5 * count
    along = ((within @ directions.T) ** 2).mean(0)
    nc1 = jnp.sum(jnp.where(kept, along / jnp.where(kept, singular, 1) ** 2, 0)) / count

    gram = spread @ spread.T
    simplex = (jnp.eye(count) - 1 / count) / jnp.sqrt(count - 1)
    nc2 = jnp.linalg.norm(gram / jnp.linalg.norm(gram) - simplex)
    nc3 = nc4 = None
    if classifier is not None:
        nc3 = jnp.linalg.norm(classifier / jnp.linalg.norm(classifier) - spread / jnp.linalg.norm(spread))
    if outputs is not None:
        far = (means**2).sum(1) - 2 * features @ means.T
        nc4 = jnp.mean(jnp.argmin(far, 1) != jnp.argmax(outputs, 1))
    return NeuralCollapse(nc1, nc2, nc3, nc4)
