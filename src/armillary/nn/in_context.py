"""A causal transformer that regresses in its context."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from armillary.nn.transformer import Transformer


def regression_tokens(
    x: Float[Array, "*batch length dim"], y: Float[Array, "*batch length"]
) -> Float[Array, "*batch length 2*dim+1"]:
    """A regression prompt as tokens: the i-th is (xᵢ₋₁, yᵢ₋₁, xᵢ), the last example solved and the input to solve.

    One layer of attention can then use an example: with x and y in tokens of their own, as in "What learning
    algorithm is in-context learning? Investigations with linear models" (Akyürek et al. 2022), it takes a layer to
    bring them together. The first token has zeros for the example that it lacks, and yᵢ for the last i is not read.
    """
    solved = jnp.concatenate([x, y[..., None]], -1)[..., :-1, :]
    before = jnp.zeros_like(solved, shape=(*x.shape[:-2], 1, x.shape[-1] + 1))
    return jnp.concatenate([jnp.concatenate([before, solved], -2), x], -1)


class InContextRegressor(eqx.Module):
    """A decoder transformer on regression prompts, after "What Can Transformers Learn In-Context? A Case Study of Simple
    Function Classes" (Garg et al. 2022); as a learner `(x, y, query) -> prediction`, it can be compared with others.
    """

    transformer: Transformer
    """Reads [`regression_tokens`][armillary.nn.regression_tokens], predicts one number at each."""

    def __init__(self, key: Key[Array, ""], *, dim: int, length: int, **options: Any):
        """**Arguments:**

        - `key`: the initial weights' randomness.
        - `dim`: of the inputs.
        - `length`: examples in a prompt at most.
        - `options`: layers, width, heads, …: see [`Transformer`][armillary.nn.Transformer].
        """
        self.transformer = Transformer(key, features=(2 * dim + 1, 1), context=length + 1, **options)

    def along(
        self, x: Float[Array, "*batch length dim"], y: Float[Array, "*batch length"]
    ) -> Float[Array, "*batch length"]:
        """The predictions of every yᵢ from xᵢ and the examples before it, in one pass: what is trained."""
        return self.transformer(regression_tokens(x, y))[..., 0]

    def __call__(
        self,
        x: Float[Array, "length dim"],
        y: Float[Array, " length"],
        query: Float[Array, "queries dim"],
    ) -> Float[Array, " queries"]:
        """The predictions at the queries of one prompt, each asked by itself."""

        def ask(q: Array) -> Array:
            return self.along(jnp.concatenate([x, q[None]]), jnp.append(y, 0.0))[-1]

        return jax.vmap(ask)(query)
