"""Compositions g(p(x)) of Gaussian inputs: a polynomial of many variables inside one of a single variable."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key


def hermite(degree: int, z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The probabilists' Hermite polynomial of a degree, scaled to variance 1 under N(0, 1)."""
    before, now = jnp.zeros_like(z), jnp.ones_like(z)
    for k in range(degree):
        before, now = now, (z * now - k**0.5 * before) / (k + 1) ** 0.5
    return now


class HierarchicalPolynomial(eqx.Module):
    """h(x) = g(p(x)) with p(x) = d^(-1/2) Σᵢ εᵢ h_k(qᵢ·x) and g(z) = Σⱼ cⱼ h_j(z), h_j the Hermite polynomials.

    "Learning Hierarchical Polynomials with Three-Layer Neural Networks" (2023). p depends on all d directions
    alike, and on no fewer. For x ~ N(0, I) it has mean 0 and variance 1; as d grows it becomes N(0, 1), so that
    E g'(p) = c₁: the share of h that is a multiple of p.
    """

    directions: Float[Array, "dim dim"]
    """An orthogonal matrix, q₁, … its columns."""
    signs: Float[Array, " dim"]
    """+1 for the first half of the directions, -1 for the others."""
    outer: Float[Array, " terms"]
    """c₀, c₁, …"""
    degree: int = eqx.field(static=True)
    """k."""

    def inner(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """p(x)."""
        return hermite(self.degree, x @ self.directions) @ self.signs / len(self.signs) ** 0.5

    def __call__(self, x: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
        """h(x)."""
        p = self.inner(x)
        return sum(c * hermite(j, p) for j, c in enumerate(self.outer))


def hierarchical_polynomial(
    key: Key[Array, ""],
    dim: int,
    *,
    degree: int = 2,
    outer: Sequence[float | Float[Array, ""]] = (0.0, 0.5**0.5, 0.5**0.5),
) -> HierarchicalPolynomial:
    """A hierarchical polynomial of random directions.

    **Arguments:**

    - `key`: the directions' randomness.
    - `dim`: d, even.
    - `degree`: k, that of the inner polynomial.
    - `outer`: the outer polynomial's Hermite coefficients c₀, c₁, …; their squares' sum is the mean square of
      h(x), up to what p lacks of being normal. `c₁ = 0` hides p from every correlation of h with degree k.

    **Raises:** `ValueError` if `dim` is odd.
    """
    if dim % 2:
        raise ValueError(f"dim={dim} must be even: as many directions count positive as negative")
    directions, triangle = jnp.linalg.qr(jax.random.normal(key, (dim, dim)))
    directions = directions * jnp.sign(jnp.diag(triangle))  # else the law is not the uniform one
    signs = jnp.where(jnp.arange(dim) < dim // 2, 1.0, -1.0)
    return HierarchicalPolynomial(
        directions, signs, jnp.stack([jnp.asarray(c, float) for c in outer]), degree
    )


def optimal_kernel(
    x: Float[Array, "n dim"], z: Float[Array, "m dim"], outer: Sequence[float | Float[Array, ""]]
) -> Float[Array, "n m"]:
    """E h(x) h(z) over the directions of a quadratic inner polynomial: the kernel that no other one beats.

    A kernel method's prediction is linear in the responses, with weights that may depend on the inputs alone.
    Among all such predictions of h(z) from h(x₁), …, h(xₙ), interpolation with this kernel has the least mean
    square error over the directions. What a kernel can not know is which directions it has met.

    The fourth moments are a combination of |x|⁴|z|⁴, |x|²|z|²(x·z)² and (x·z)⁴, whose factors follow from three
    averages over a unit x: of E p(x)²p(z)², of the same times (x·z)², and its value at x = z.

    **Arguments:**

    - `x`, `z`: inputs.
    - `outer`: c₀, c₁, c₂ as in [`hierarchical_polynomial`][armillary.data.hierarchical_polynomial].
    """
    c0, c1, c2 = outer
    d = x.shape[1]
    averages = np.array(
        [
            [1, 1 / d, 3 / (d * (d + 2))],
            [1 / d, 3 / (d * (d + 2)), 15 / (d * (d + 2) * (d + 4))],
            [1, 1, 1],
        ]
    )
    known = np.array([1 / (d * (d + 2)) ** 2, 1 / (d**3 * (d + 2) ** 2), 3 / (d**2 * (d + 2) * (d + 6))])
    factors = np.linalg.solve(averages, known)
    a, b = jnp.sum(x**2, 1)[:, None], jnp.sum(z**2, 1)
    product = (x @ z.T) ** 2
    second = (product - a * b / d) / ((d - 1) * (d + 2))  # E p(x) p(z)
    fourth = factors[0] * (a * b) ** 2 + factors[1] * a * b * product + factors[2] * product**2
    left, right = a**2 / (d * (d + 2)) - 1, b**2 / (d * (d + 2)) - 1  # E p² - 1
    even = fourth - left - right - 1  # E (p(x)² - 1)(p(z)² - 1)
    return c0**2 + c0 * c2 / 2**0.5 * (left + right) + c1**2 * second + c2**2 / 2 * even
