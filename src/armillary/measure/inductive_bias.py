"""How many dimensions data have, and how much a learner must assume to generalize on them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.weighted_chi2 import lugannani_rice


def intrinsic_dimension(
    x: Float[Array, "examples features"], *, discard: float = 0.1
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """The dimension of the manifold that points lie on, from each point's two nearest neighbours; and its standard error.

    The ratio μ of the distances to the second and to the first is Pareto distributed with the dimension as its exponent,
    whatever the density, as long as that is constant up to the second neighbour. Facco et al. 2017, "Estimating the
    intrinsic dimension of datasets by a minimal neighborhood information"; the exponent by maximum likelihood, the
    largest ratios censored.

    **Arguments:**

    - `x`: at least three different points. Points that have an equal are left out.
    - `discard`: the share of largest ratios whose size is not used, since far neighbours do not see the manifold.
    """
    n = len(x)

    def nearest(i: Array) -> Array:
        """Squared distances to the two nearest; from differences, which keep their digits where points are close."""
        square = jnp.sum((x - x[i]) ** 2, 1).at[i].set(jnp.inf)
        return -jax.lax.top_k(-square, 2)[0]

    first, second = jax.lax.map(nearest, jnp.arange(n)).T
    distinct = first > 0
    log_ratio = jnp.where(distinct, jnp.log(second / jnp.where(distinct, first, 1.0)) / 2, jnp.inf)
    kept = jnp.floor((1 - discard) * jnp.sum(distinct))
    order = jnp.sort(log_ratio)
    use = jnp.arange(n) < kept
    largest = order[jnp.maximum(kept.astype(int) - 1, 0)]
    # Censored maximum likelihood: every ratio beyond the largest used one is known to be at least as large.
    total = jnp.sum(jnp.where(use, order, 0.0)) + (jnp.sum(distinct) - kept) * largest
    dimension = kept / total
    return dimension, dimension / jnp.sqrt(kept)


def inductive_bias_bits(
    dimension: float | Float[Array, ""], examples: int, *, resolution: int = 2, error: float = 0.05
) -> Float[Array, ""]:
    """Bits of assumption with which a function that fits the examples also has a small error everywhere.

    −log₂ of the share of functions with that error, among those of a generic class that fit: all sums of Fourier modes
    of frequency up to `resolution` in each of `dimension` directions, (2·resolution + 1)^dimension of them, with Gaussian
    coefficients. The examples fix as many modes as there are of them; the error of the rest is a χ². "Model-agnostic
    Measure of Generalization Difficulty" (2023), eq. 5, with the torus in the place of a general manifold.

    **Arguments:**

    - `dimension`: of the inputs' manifold, see [`intrinsic_dimension`][armillary.measure.intrinsic_dimension]; may be a
      fraction.
    - `examples`: how many are fitted, fewer than there are modes; else the answer is 0.
    - `resolution`: the highest frequency that matters.
    - `error`: mean squared error, over the variance of the functions.
    """
    modes = (2.0 * resolution + 1) ** dimension
    free = jnp.maximum(modes - examples, 0.0)
    x = modes * error
    terms = jnp.where(free > x, free, 2 * x)  # else half of the functions or more are as good
    t = (1 - terms / x) / 2
    log = lugannani_rice(t, x, -terms * jnp.log1p(-2 * t) / 2, 2 * x**2 / terms)
    return jnp.where(free > x, -log / jnp.log(2.0), 0.0)
