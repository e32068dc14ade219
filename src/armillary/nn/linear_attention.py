"""One layer of linear self-attention on regression prompts, through the prompt's second moments.

With tokens zᵢ = (xᵢ, yᵢ) and a query token v = (x_q, 0), linear attention without softmax predicts
pᵀ (1/n Σᵢ zᵢzᵢᵀ) W v: the query's place in the y-row of `W_PV E Eᵀ W_KQ E / n`. Only the last row p of the
value matrix and the first dim columns of the merged key-query matrix reach that entry, so these are the
layer. "Trained Transformers Learn Linear Models In-Context" (Zhang, Frei and Bartlett 2023, eq. 3.3) and "One
Step of Gradient Descent is Provably the Optimal In-Context Learner with One Layer of Linear Self-Attention"
(Mahankali, Hashimoto and Ma 2023, section 2), whose sum over examples is n times the mean taken here.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def prompt_moments(
    x: Float[Array, "*batch length dim"], y: Float[Array, "*batch length"]
) -> Float[Array, "*batch dim+1 dim+1"]:
    """The mean of (xᵢ, yᵢ)(xᵢ, yᵢ)ᵀ over a prompt's examples: all that linear attention reads of them."""
    z = jnp.concatenate([x, y[..., None]], -1)
    return jnp.swapaxes(z, -1, -2) @ z / x.shape[-2]


def linear_attention(
    value: Float[Array, " dim+1"],
    key_query: Float[Array, "dim+1 dim"],
    moments: Float[Array, "*batch dim+1 dim+1"],
    query: Float[Array, "*batch queries dim"],
    *,
    attend_query: float = 0.0,
) -> Float[Array, "*batch queries"]:
    """The layer's predictions at the queries.

    **Arguments:**

    - `value`: the value matrix's last row, (p_x, p_y).
    - `key_query`: the first dim columns of the merged key-query matrix W.
    - `moments`: a prompt's second moments, from [`prompt_moments`][armillary.nn.prompt_moments].
    - `query`: x_q, several to a prompt, each predicted by itself.
    - `attend_query`: 1/n if the query token attends to itself too, as in Zhang, Frei and Bartlett; else 0.

    **Returns:** one prediction a query.
    """
    coefficients = (moments @ value) @ key_query
    out = jnp.sum(query * coefficients[..., None, :], -1)
    if attend_query:
        dim = query.shape[-1]
        out += attend_query * (query @ value[:dim]) * jnp.sum((query @ key_query[:dim]) * query, -1)
    return out


class LinearAttention(eqx.Module):
    """One layer of linear self-attention: all the weights that reach its prediction."""

    value: Float[Array, " dim+1"]
    """The value matrix's last row, (p_x, p_y)."""
    key_query: Float[Array, "dim+1 dim"]
    """The first dim columns of the merged key-query matrix."""
    attend_query: bool = eqx.field(static=True, default=False)
    """Whether the query token attends to itself too."""

    @classmethod
    def random(
        cls, dim: int, key: Key[Array, ""], *, scale: float = 0.1, attend_query: bool = False
    ) -> "LinearAttention":
        """Dense weights with N(0, `scale`²) entries."""
        weights = scale * jax.random.normal(key, (dim + 1, dim + 1))
        return cls(weights[:, 0], weights[:, 1:], attend_query)

    @classmethod
    def from_blocks(
        cls, corner: Float[Array, ""] | float, block: Float[Array, "dim dim"], *, attend_query: bool = False
    ) -> "LinearAttention":
        """The block-sparse layer p = (0, `corner`), W = [`block`; 0].

        It predicts x_qᵀ A (1/n Σᵢ yᵢxᵢ) with A = `corner`·`block`ᵀ, one step of preconditioned gradient
        descent from zero on the prompt's squared loss. Train `corner` and `block` through this function to
        keep the zeros.
        """
        dim = len(block)
        value = jnp.zeros(dim + 1).at[dim].set(corner)
        return cls(value, jnp.concatenate([block, jnp.zeros((1, dim))]), attend_query)

    @property
    def step(self) -> Float[Array, "dim dim"]:
        """A in the part x_qᵀ A (1/n Σᵢ yᵢxᵢ) of the prediction; gradient descent with step size η has ηI."""
        p_x, p_y = self.value[:-1], self.value[-1]
        return (p_y * self.key_query[:-1] + jnp.outer(p_x, self.key_query[-1])).T

    def __call__(
        self,
        x: Float[Array, "*batch length dim"],
        y: Float[Array, "*batch length"],
        query: Float[Array, "*batch queries dim"],
    ) -> Float[Array, "*batch queries"]:
        """Predictions at the queries of a prompt, or of a batch of prompts."""
        own = 1 / x.shape[-2] if self.attend_query else 0.0
        return linear_attention(self.value, self.key_query, prompt_moments(x, y), query, attend_query=own)
