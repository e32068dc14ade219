"""What an environment is, and episodes in one."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

State = Any


class Environment(NamedTuple):
    """A Markov decision process as pure functions; nothing in it depends on a batch, so `vmap` makes batches."""

    reset: Callable[[Key[Array, ""]], State]
    """The first state, from a key."""
    step: Callable[[State, Array], tuple[State, Float[Array, ""], Bool[Array, ""]]]
    """`(state, action) -> (next state, reward, whether that state ends the episode)`."""
    observe: Callable[[State], Float[Array, " observations"]]
    """What the agent sees of a state."""
    observations: int
    """How many numbers it sees."""
    actions: int
    """How many there are to choose from, or how many numbers an action is."""
    horizon: int
    """The steps after which an episode is cut off."""
    continuous: bool = False
    """Whether an action is `actions` numbers in [-1, 1], and not one of `actions` choices."""
    endless: bool = False
    """Whether nothing but the horizon ends an episode; then its loop has a fixed length."""

    def greedy(self, outputs: Float[Array, "*batch actions"]) -> Array:
        """The action that a network's outputs stand for: their hyperbolic tangent, or the largest one's number."""
        return jnp.tanh(outputs) if self.continuous else jnp.argmax(outputs, -1)


class Episode(NamedTuple):
    """The outcome of one episode."""

    total: Float[Array, ""]
    """The sum of the rewards, undiscounted."""
    length: Int[Array, ""]
    """Frames: the steps taken until the end or the horizon."""
    state: State
    """The last state."""


class Trajectory(NamedTuple):
    """One episode step by step, `horizon` long; steps after the end are marked in `alive`."""

    observations: Float[Array, "horizon observations"]
    actions: Array
    rewards: Float[Array, " horizon"]
    """0 after the end."""
    alive: Bool[Array, " horizon"]
    """Whether the step was taken; the one that ends the episode was."""


def episode(
    environment: Environment, act: Callable[[Float[Array, " observations"]], Array], key: Key[Array, ""]
) -> Episode:
    """Play one episode of a deterministic policy. Under `vmap` it runs as long as the longest."""

    def going(carry: tuple) -> Array:
        _, _, length, done = carry
        return (length < environment.horizon) & ~done

    def step(carry: tuple) -> tuple:
        state, total, length, _ = carry
        state, reward, done = environment.step(state, act(environment.observe(state)))
        return state, total + reward, length + 1, done

    start = environment.reset(key), jnp.zeros(()), jnp.array(0), jnp.array(False)
    if environment.endless:
        end = jax.lax.scan(lambda carry, _: (step(carry), None), start, length=environment.horizon)[0]
    else:
        end = jax.lax.while_loop(going, step, start)
    state, total, length, _ = end
    return Episode(total, length, state)


def trajectory(
    environment: Environment,
    act: Callable[[Float[Array, " observations"], Any], Array],
    key: Key[Array, ""],
    noise: PyTree | None = None,
) -> Trajectory:
    """Play one episode of a policy that may draw its actions, and keep every step.

    **Arguments:**

    - `environment`: whose.
    - `act`: `(observation, step's key) -> action`.
    - `key`: the first state's, and the steps'.
    - `noise`: what `act` gets in the key's place, `horizon` entries long: drawn at once it costs less than step by step.
    """
    reset_key, act_key = jax.random.split(key)

    def step(carry: tuple, key: Any) -> tuple:
        state, alive = carry
        seen = environment.observe(state)
        action = act(seen, key)
        following, reward, done = environment.step(state, action)
        state = jax.tree.map(lambda a, b: jnp.where(alive, a, b), following, state)
        return (state, alive & ~done), Trajectory(seen, action, jnp.where(alive, reward, 0.0), alive)

    keys = jax.random.split(act_key, environment.horizon) if noise is None else noise
    return jax.lax.scan(step, (environment.reset(reset_key), jnp.array(True)), keys)[1]
