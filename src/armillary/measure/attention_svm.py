"""Which token one layer of attention selects, and the support vector machine that it converges to.

With the merged key-query matrix W, input i gives its token x_it the attention logit x_itᵀ W zᵢ, zᵢ its query. "Transformers
as Support Vector Machines" (2023).
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from armillary.measure.eigen import eigh, nuclear_norm, singular_values


class TokenMargin(NamedTuple):
    """What the attention of a layer selects."""

    selected: Int[Array, " inputs"]
    """The token with the largest logit."""
    margin: Float[Array, " inputs"]
    """How far its logit is above the next one."""


def token_margin(
    weights: Float[Array, "dim dim"],
    tokens: Float[Array, "inputs tokens dim"],
    queries: Float[Array, "inputs dim"],
) -> TokenMargin:
    """Which token each input selects, and how firmly.

    A matrix divided by its smallest margin has unit margin, and can be compared with
    [`attention_svm`][armillary.measure.attention_svm].

    **Arguments:**

    - `weights`: W, keys on the left: WₖᵀW_q, or KQᵀ.
    - `tokens`, `queries`: x_it and zᵢ.
    """
    logits = jnp.einsum("itd,de,ie->it", tokens, weights, queries, optimize=True)
    best, second = jax.lax.top_k(logits, 2)[0].T
    return TokenMargin(jnp.argmax(logits, 1), best - second)


class AttentionSVM(NamedTuple):
    """A matrix that separates the selected tokens from all others."""

    weights: Float[Array, "dim dim"]
    """W; its smallest margin is 1."""
    norm: Float[Array, ""]
    """The norm that was minimized."""
    gap: Float[Array, ""]
    """By how much, relatively, the norm may exceed the smallest possible one: the duality gap. It does not go to zero
    if no W separates the tokens."""


def attention_svm(
    tokens: Float[Array, "inputs tokens dim"],
    queries: Float[Array, "inputs dim"],
    selected: Int[Array, " inputs"],
    *,
    norm: Literal["frobenius", "nuclear"] = "frobenius",
    sweeps: int = 5000,
    rounds: int = 1000,
) -> AttentionSVM:
    """The smallest W with (x_i,selected - x_it)ᵀ W zᵢ ≥ 1 for every other token t of every input i.

    Gradient descent on W converges in direction to the solution in the Frobenius norm, on the factors of W = KQᵀ to that
    in the nuclear norm (the sum of the singular values): "Transformers as Support Vector Machines" (2023), eqs.
    (Att-SVM) and (Att-SVM⋆).

    The dual, min ½‖Σⱼ αⱼAⱼ‖² - Σⱼ αⱼ over α ≥ 0 with one Aⱼ a constraint, is solved by coordinate ascent. The nuclear norm
    is the least of the weighted norms ½ tr(WᵀD⁻¹W) + ½ tr D, reached at D = (WWᵀ)^½: W and D are renewed in turn.

    **Arguments:**

    - `tokens`, `queries`: x_it and zᵢ; no two tokens of an input alike.
    - `selected`: the token that each input is to select.
    - `norm`: the one to minimize.
    - `sweeps`: over all dual variables, in all; a `rounds`-th of them between two renewals of D.
    - `rounds`: renewals of D, for the nuclear norm.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.data import unit_sphere
    from armillary.measure import attention_svm, token_margin

    tokens = unit_sphere(jax.random.key(0), 6, 3, 4)  # 3 inputs of 4 tokens
    best = jnp.array([2, 0, 1])
    svm = attention_svm(tokens, tokens[:, 0], best)
    token_margin(svm.weights, tokens, tokens[:, 0]).selected  # [2, 0, 1]
    ```
    """
    if norm not in ("frobenius", "nuclear"):
        raise ValueError(f"norm={norm!r} must be 'frobenius' or 'nuclear'")
    count, dim = tokens.shape[1:]
    others = (selected[:, None] + jnp.arange(1, count)) % count
    pick = lambda index: jnp.take_along_axis(tokens, index[..., None], 1)
    gains = (pick(selected[:, None]) - pick(others)).reshape(-1, dim)
    of_query = jnp.repeat(queries, count - 1, 0)
    in_queries = of_query @ of_query.T

    def ascend(dual: Array, metric: Array, sweeps: int) -> Array:
        gram = (gains @ metric @ gains.T) * in_queries

        def one(j: Array, dual: Array) -> Array:
            return dual.at[j].set(jnp.maximum(0, dual[j] + (1 - gram[j] @ dual) / gram[j, j]))

        return jax.lax.fori_loop(0, sweeps * len(gram), lambda j, dual: one(j % len(gram), dual), dual)

    def assemble(dual: Array, metric: Array) -> tuple[Array, Array]:
        """Σ αⱼ Aⱼ, and the primal W = D Σ αⱼAⱼ at unit margin."""
        direction = (gains * dual[:, None]).T @ of_query
        weights = metric @ direction
        return direction, weights / jnp.min(jnp.sum(gains @ weights * of_query, 1))

    dual, metric = jnp.zeros(len(gains), tokens.dtype), jnp.eye(dim, dtype=tokens.dtype)
    if norm == "frobenius":
        dual = ascend(dual, metric, sweeps)
        direction, weights = assemble(dual, metric)
        size, dual_norm = jnp.linalg.norm(weights), jnp.linalg.norm(direction)
    else:

        def renew(state: tuple[Array, Array], smoothing: Array) -> tuple[tuple[Array, Array], None]:
            dual, metric = state
            dual = ascend(dual, metric, sweeps // rounds)
            weights = assemble(dual, metric)[1]
            values, vectors = eigh(weights @ weights.T)
            roots = jnp.sqrt(jnp.maximum(values, 0) + (smoothing * jnp.sqrt(values[-1])) ** 2)
            return (dual, (vectors * roots) @ vectors.T), None

        smoothing = jnp.geomspace(1.0, 1e-5, rounds, dtype=tokens.dtype)
        (dual, metric), _ = jax.lax.scan(renew, (dual, metric), smoothing)
        dual = ascend(dual, metric, sweeps // rounds)
        direction, weights = assemble(dual, metric)
        size, dual_norm = nuclear_norm(weights), singular_values(direction)[0]
    # Σα/‖ΣαA‖ in the dual norm is a lower bound on the norm of every separating W.
    return AttentionSVM(weights, size, size * dual_norm / jnp.sum(dual) - 1)
