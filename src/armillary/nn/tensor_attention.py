"""Attention over pairs of keys, exact and in linear time."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def exponential_features(x: Float[Array, "*batch dim"], degree: int) -> Float[Array, "*batch monomials"]:
    """The monomials xᵐ with |m| ≤ degree: their weighted products sum to the exponential's Taylor polynomial.

    Σₘ wₘ xᵐ yᵐ zᵐ = Σ_{l ≤ degree} ⟨x, y, z⟩ˡ / l! for ⟨x, y, z⟩ = Σᵢ xᵢ yᵢ zᵢ and any number of factors, with
    wₘ = [`monomial_weights`][armillary.nn.monomial_weights]; there are C(dim + degree, degree) of them.
    """
    exponents = _exponents(x.shape[-1], degree)
    powers = jnp.stack([x**p for p in range(degree + 1)], -1)
    return jnp.prod(powers[..., np.arange(x.shape[-1]), exponents], -1)


def monomial_weights(dim: int, degree: int) -> Float[np.ndarray, " monomials"]:
    """wₘ = 1 / Πᵢ mᵢ! for the exponents of [`exponential_features`][armillary.nn.exponential_features]."""
    return np.array([1 / math.prod(map(math.factorial, m)) for m in _exponents(dim, degree).tolist()])


def _exponents(dim: int, degree: int) -> np.ndarray:
    every = itertools.product(range(degree + 1), repeat=dim)
    return np.array([m for m in every if sum(m) <= degree])


def tensor_attention(
    queries: Float[Array, "*batch n dim"],
    keys: tuple[Float[Array, "*batch n dim"], Float[Array, "*batch n dim"]],
    values: tuple[Float[Array, "*batch n features"], Float[Array, "*batch n features"]],
    *,
    degree: int | None = None,
) -> Float[Array, "*batch n features"]:
    """Softmax attention over pairs of keys: Σⱼₖ Aᵢⱼₖ v¹ⱼ ∘ v²ₖ with Aᵢⱼₖ ∝ exp(⟨qᵢ, k¹ⱼ, k²ₖ⟩ / dim).

    "How to Capture Higher-order Correlations? Generalizing Matrix Softmax Attention to Kronecker Computation" (2023),
    definition 1.1, at a cost of n³; or its algorithm, with the exponential replaced by a polynomial that factors,
    at a cost of n. That is accurate as long as the scores are small: the remainder of degree g is about
    sᵍ⁺¹/(g + 1)!, and an entry bound B makes scores of up to B³.

    **Arguments:**

    - `queries`, `keys`, `values`: Q, (K₁, K₂), (V₁, V₂).
    - `degree`: of the Taylor polynomial; None for the exact attention.

    **Example:**

    ```python
    import jax
    from armillary.nn import tensor_attention

    q, k1, k2, v1, v2 = 0.5 * jax.random.normal(jax.random.key(0), (5, 100, 3))
    exact = tensor_attention(q, (k1, k2), (v1, v2))
    fast = tensor_attention(q, (k1, k2), (v1, v2), degree=4)  # with no array of 100 × 100 × 100
    ```
    """
    dim = queries.shape[-1]
    if degree is None:
        scores = jnp.einsum("...id,...jd,...kd->...ijk", queries, *keys, optimize=True) / dim
        weights = jnp.exp(scores - scores.max((-2, -1), keepdims=True))
        total = jnp.einsum("...ijk,...je,...ke->...ie", weights, *values, optimize=True)
        return total / weights.sum((-2, -1))[..., None]
    features = lambda x: exponential_features(x, degree)
    # A column of ones among the values gives the softmax's denominator.
    sums = [
        jnp.einsum(
            "...nm,...ne->...me",
            features(k),
            jnp.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, 1)], constant_values=1),
        )
        for k, v in zip(keys, values)
    ]
    weights = jnp.asarray(monomial_weights(dim, degree), queries.dtype)[:, None]
    out = features(queries / dim) @ (weights * sums[0] * sums[1])
    return out[..., :-1] / out[..., -1:]
