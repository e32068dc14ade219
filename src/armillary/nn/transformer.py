"""A small pre-norm decoder transformer, scanned over its layers, with named hooks.

Shapes in names: B batch (any number of axes), S positions, D model width, H heads, K head width, L layers,
V numbers in a token read, O in one predicted: both the vocabulary, where tokens are symbols. After "Attention Is All You Need" (Vaswani et al. 2017), pre-norm, without biases.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

HOOKS = ("residual", "queries", "keys", "attention_logits", "attention", "attention_out", "mlp_out")
"""What a call can return of every layer; see `Transformer.__call__`."""
Hooks = Sequence[str] | Mapping[str, Callable[[Array], Any]]


def layer_norm(x: Float[Array, "*batch width"], *, epsilon: float = 1e-6) -> Float[Array, "*batch width"]:
    """Layer normalization without parameters: mean 0 and variance 1 along the last axis (Ba et al. 2016)."""
    x = x - x.mean(-1, keepdims=True)
    return x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True) + epsilon)


class Block(eqx.Module):
    """The weights of all layers, stacked along a leading axis of L."""

    query: Float[Array, "L D H K"]
    key: Float[Array, "L D H K"]
    value: Float[Array, "L D H K"]
    out: Float[Array, "L H K D"]
    up: Float[Array, "L D F"]
    down: Float[Array, "L F D"]
    gains: tuple[Float[Array, "L D"], Float[Array, "L D"]] | None
    """Of the two layer normalizations; None where they have no parameters."""


class Transformer(eqx.Module):
    """Token and position embeddings, L layers of causal attention and MLP, and an unembedding.

    A token is a vector of V numbers, which the embedding maps to the model's width; or a symbol, which stands for the
    vector with a 1 in its place and 0 elsewhere.
    """

    embedding: Float[Array, "V D"]
    positions: Float[Array, "S D"]
    blocks: Block
    gain: Float[Array, " D"] | None
    unembedding: Float[Array, "D O"]

    def __init__(
        self,
        key: Key[Array, ""],
        *,
        vocabulary: int | None = None,
        features: tuple[int, int] | None = None,
        context: int,
        layers: int = 2,
        width: int = 32,
        heads: int = 2,
        expansion: int = 4,
        learned_norm: bool = False,
    ):
        """**Arguments:**

        - `key`: the initial weights' randomness: every matrix has N(0, 1/inputs) entries, embeddings of symbols and
          positions N(0, 1).
        - `vocabulary`: how many symbols there are; for tokens that are symbols, read and predicted.
        - `features`: instead, how many numbers a token has, and how many are predicted at it; for tokens that are
          vectors.
        - `context`: positions at most.
        - `layers`, `width`, `heads`, `expansion`: L, D, H, and the MLP's width over D.
        - `learned_norm`: whether the layer normalizations have gains (biases they never have).

        **Raises:** `ValueError` if `heads` does not divide `width`, or not one of `vocabulary` and `features` is given.
        """
        if vocabulary is not None and features is None:
            read, predicted, terms = vocabulary, vocabulary, 1
        elif features is not None and vocabulary is None:
            (read, predicted), terms = features, features[0]
        else:
            raise ValueError(
                f"vocabulary={vocabulary} and features={features}: give the one that says what a token is"
            )
        if width % heads:
            raise ValueError(f"heads={heads} must divide width={width}")
        D, H, K, F, L = width, heads, width // heads, expansion * width, layers
        # One draw, cut in pieces: every draw is a generator to compile.
        drawn = jax.random.normal(key, (D * (read + context + predicted) + L * D * (4 * D + 2 * F),))
        taken = 0

        def normal(*shape: int, inputs: int = 1) -> Array:
            nonlocal taken
            start, taken = taken, taken + math.prod(shape)
            return drawn[start:taken].reshape(shape) / inputs**0.5

        ones = (jnp.ones((L, D)), jnp.ones((L, D))) if learned_norm else None
        self.embedding = normal(read, D, inputs=terms)
        self.positions = normal(context, D)
        self.blocks = Block(
            query=normal(L, D, H, K, inputs=D),
            key=normal(L, D, H, K, inputs=D),
            value=normal(L, D, H, K, inputs=D),
            out=normal(L, H, K, D, inputs=D),
            up=normal(L, D, F, inputs=D),
            down=normal(L, F, D, inputs=F),
            gains=ones,
        )
        self.gain = jnp.ones(D) if learned_norm else None
        self.unembedding = normal(D, predicted, inputs=D)

    def __call__(
        self,
        tokens: Int[Array, "*B S"] | Float[Array, "*B S V"],
        *,
        qk_norm: float | Array = 0.0,
        v_norm: float | Array = 0.0,
        hooks: Hooks = (),
    ) -> Any:
        """What is predicted at each position: for symbols, the logits of the next token.

        **Arguments:**

        - `tokens`: symbols 0 to V - 1 as integers, BxS, or vectors as floats, BxSxV; at most as many as the context.
        - `qk_norm`: 1 normalizes queries and keys ("Scaling Vision Transformers to 22 Billion Parameters",
          Dehghani et al. 2023), 0 does not; may be traced, so that both share one program.
        - `v_norm`: likewise for the values.
        - `hooks`: which intermediates to return too, of every layer: `residual` (what the layer reads, BxSxD),
          `queries`, `keys` (BxSxHxK), `attention_logits`, `attention` (BxHxSxS, the logits before the mask),
          `attention_out`, `mlp_out` (what the layer adds, BxSxD). A mapping name → function keeps only what the
          function makes of it. Nothing is kept that is not asked for.

        **Returns:** BxSxO; with hooks, also a dictionary of arrays with a leading axis of L.

        **Raises:** `ValueError` for a hook of another name.
        """
        if unknown := set(hooks) - set(HOOKS):
            raise ValueError(f"no hook {min(unknown)!r}; there are {', '.join(HOOKS)}")
        take = {n: hooks[n] if isinstance(hooks, Mapping) else (lambda x: x) for n in hooks}
        symbols = jnp.issubdtype(tokens.dtype, jnp.integer)
        embedded_BxSxD = self.embedding[tokens] if symbols else tokens @ self.embedding
        S, K = embedded_BxSxD.shape[-2], self.blocks.query.shape[-1]
        mask_SxS = jnp.tril(jnp.ones((S, S), bool))

        def layer(x_BxSxD: Array, block: Block) -> tuple[Array, dict[str, Any]]:
            first, second = block.gains or (1.0, 1.0)
            h_BxSxD = layer_norm(x_BxSxD) * first
            q_BxSxHxK, k_BxSxHxK, v_BxSxHxK = (
                jnp.einsum("...sd,dhk->...shk", h_BxSxD, w) for w in (block.query, block.key, block.value)
            )
            q_BxSxHxK, k_BxSxHxK = (_blend(x, qk_norm) for x in (q_BxSxHxK, k_BxSxHxK))
            v_BxSxHxK = _blend(v_BxSxHxK, v_norm)
            logits_BxHxSxS = jnp.einsum("...shk,...thk->...hst", q_BxSxHxK, k_BxSxHxK) / K**0.5
            attention_BxHxSxS = jax.nn.softmax(jnp.where(mask_SxS, logits_BxHxSxS, -jnp.inf))
            heads_BxSxHxK = jnp.einsum("...hst,...thk->...shk", attention_BxHxSxS, v_BxSxHxK)
            attended_BxSxD = jnp.einsum("...shk,hkd->...sd", heads_BxSxHxK, block.out)
            y_BxSxD = x_BxSxD + attended_BxSxD
            mlp_BxSxD = jax.nn.gelu((layer_norm(y_BxSxD) * second) @ block.up) @ block.down
            found = {
                "residual": x_BxSxD,
                "queries": q_BxSxHxK,
                "keys": k_BxSxHxK,
                "attention_logits": logits_BxHxSxS,
                "attention": attention_BxHxSxS,
                "attention_out": attended_BxSxD,
                "mlp_out": mlp_BxSxD,
            }
            return y_BxSxD + mlp_BxSxD, {n: f(found[n]) for n, f in take.items()}

        x_BxSxD = embedded_BxSxD + self.positions[:S]
        # Few layers one after another, without a loop: a quarter faster on a CPU.
        few = len(self.blocks.query) <= 6
        x_BxSxD, kept = jax.lax.scan(layer, x_BxSxD, self.blocks, unroll=few)
        gain = 1.0 if self.gain is None else self.gain
        out_BxSxO = (layer_norm(x_BxSxD) * gain) @ self.unembedding
        return (out_BxSxO, kept) if hooks else out_BxSxO


def _blend(x: Array, share: float | Array) -> Array:
    if isinstance(share, int | float) and share == 0:
        return x
    return (1 - share) * x + share * layer_norm(x)
