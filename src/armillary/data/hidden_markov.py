"""Hidden Markov models, with their exact belief about the hidden state."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


class HiddenMarkov(NamedTuple):
    """A chain of hidden states, each of which emits a symbol before it moves on."""

    initial: Float[Array, " states"]
    """The law of the first state."""
    transition: Float[Array, "states states"]
    """A row a state: where it goes."""
    emission: Float[Array, "states symbols"]
    """A row a state: what it emits."""

    def sample(self, key: Key[Array, ""], length: int) -> Int[Array, " length"]:
        """A sequence of symbols."""
        k_first, k_rest = jax.random.split(key)

        def step(state: Array, key: Array) -> tuple[Array, Array]:
            k_emit, k_move = jax.random.split(key)
            symbol = jax.random.categorical(k_emit, jnp.log(self.emission[state]))
            return jax.random.categorical(k_move, jnp.log(self.transition[state])), symbol

        first = jax.random.categorical(k_first, jnp.log(self.initial))
        return jax.lax.scan(step, first, jax.random.split(k_rest, length))[1]

    def belief(self, symbols: Int[Array, " length"]) -> Float[Array, " states"]:
        """The law of the hidden state behind the last symbol, given all symbols: the forward filter.

        All that the past says about the future of the text: an ideal language model's features.
        """

        def step(prior: Array, symbol: Array) -> tuple[Array, Array]:
            joint = prior * self.emission[:, symbol]
            posterior = joint / joint.sum()
            return posterior @ self.transition, posterior

        return jax.lax.scan(step, self.initial, symbols)[1][-1]


def hidden_markov(
    key: Key[Array, ""], states: int, symbols: int, *, concentration: float = 0.1
) -> HiddenMarkov:
    """A random hidden Markov model that starts in any state alike; its rows are Dirichlet.

    **Arguments:**

    - `key`: the rows' randomness.
    - `states`, `symbols`: how many.
    - `concentration`: of the Dirichlet laws; the smaller, the fewer successors and symbols a state has.
    """
    k_move, k_emit = jax.random.split(key)
    rows = lambda key, size: jax.random.dirichlet(key, jnp.full(size, concentration), (states,))
    return HiddenMarkov(jnp.full(states, 1 / states), rows(k_move, states), rows(k_emit, symbols))
