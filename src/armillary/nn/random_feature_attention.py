"""Attention with frozen random weights, as features of a linear model."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def random_feature_attention(
    query: Float[Array, "*batch dim"],
    keys: Float[Array, "*batch keys dim"],
    weights: Float[Array, "heads dim dim"],
) -> Float[Array, "*batch heads dim"]:
    """What each head reads: (1/N) Σᵢ relu(x₀ᵀ W_m xᵢ) xᵢ, the mean of the keys by their attention to the query.

    The attention layer Σ_m (1/N) Σᵢ relu(x₀ᵀ W_m xᵢ) ⟨v_m, xᵢ⟩ with ReLU in place of softmax is linear in its values
    v_m, so that to train them is to regress on these features: "What can a Single Attention Layer Learn? A Study Through
    the Random Features Lens" (2023), eq. 2. Append a constant 1 to queries and keys, as the paper does: without it the
    features are odd in the keys as soon as they are even in the query.

    **Arguments:**

    - `query`, `keys`: x₀ and x₁, …, x_N.
    - `weights`: the merged query-key matrices W_m, frozen; independent Gaussian entries, or these added to a multiple of
      the identity for the paper's biased heads.

    **Example:**

    ```python
    import jax
    from armillary.nn import random_feature_attention

    k_x, k_w = jax.random.split(jax.random.key(0))
    tokens = jax.random.normal(k_x, (50, 1 + 8, 3))  # 50 inputs: a query and 8 keys of dimension 3
    heads = jax.random.normal(k_w, (20, 3, 3))
    features = random_feature_attention(tokens[:, 0], tokens[:, 1:], heads)  # (50, 20, 3)
    ```
    """
    attention = jax.nn.relu(jnp.einsum("...d,mde,...ne->...mn", query, weights, keys, optimize=True))
    return attention @ keys / keys.shape[-2]
