"""A state that looks things up in a context, once or many times with the same weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from armillary.nn.transformer import layer_norm


class LookupBlock(eqx.Module):
    """One head of attention from a state over a set of tokens, and an MLP; each added, then normalized."""

    query: Float[Array, "width width"]
    key: Float[Array, "token width"]
    value: Float[Array, "token width"]
    up: Float[Array, "width hidden"]
    down: Float[Array, "hidden width"]

    def __init__(self, key: Key[Array, ""], *, token: int, width: int = 32, expansion: int = 2):
        """`token`: numbers in a token; `expansion`: the MLP's width over the state's. Entries are N(0, 1/inputs)."""
        shapes = [(width, width), (token, width), (token, width), (width, expansion * width)]
        shapes.append((expansion * width, width))
        keys = jax.random.split(key, len(shapes))
        drawn = [jax.random.normal(k, s) / s[0] ** 0.5 for k, s in zip(keys, shapes)]
        self.query, self.key, self.value, self.up, self.down = drawn

    def __call__(
        self, state: Float[Array, "*batch width"], tokens: Float[Array, "*batch tokens token"]
    ) -> Float[Array, "*batch width"]:
        """The next state."""
        scores = jnp.einsum("...d,...nd->...n", state @ self.query, tokens @ self.key)
        weights = jax.nn.softmax(scores / state.shape[-1] ** 0.5, -1)
        state = layer_norm(state + jnp.einsum("...n,...nd->...d", weights, tokens @ self.value))
        return layer_norm(state + jax.nn.relu(state @ self.up) @ self.down)


class Iterated(eqx.Module):
    """A block applied again and again with the same weights: computation that grows with the instance."""

    block: LookupBlock

    def __call__(
        self, state: Float[Array, "*batch width"], tokens: Float[Array, "*batch tokens token"], steps: int
    ) -> Float[Array, "steps+1 *batch width"]:
        """The state at the start and after each of the steps: read it where an instance asks for it.

        Universal Transformers (Dehghani et al. 2018), with the number of steps given.
        """

        def step(state: Array, _: None) -> tuple[Array, Array]:
            return (new := self.block(state, tokens)), new

        _, states = jax.lax.scan(step, state, length=steps)
        return jnp.concatenate([state[None], states])
