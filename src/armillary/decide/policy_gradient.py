"""The policy gradient with a learned baseline."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from armillary.decide.environment import Environment, trajectory


def returns_to_go(
    rewards: Float[Array, " horizon"], discount: float | Float[Array, ""]
) -> Float[Array, " horizon"]:
    """G_t = r_t + γ G_{t+1}, backwards from the end."""
    step = lambda after, reward: ((total := reward + discount * after), total)
    return jax.lax.scan(step, jnp.zeros(()), rewards, reverse=True)[1]


def policy_gradient(
    environment: Environment,
    outputs: Callable[[PyTree, Float[Array, " observations"]], Float[Array, " actions"]],
    value: Callable[[PyTree, Float[Array, " observations"]], Float[Array, ""]],
    *,
    episodes: int,
    discount: float | Float[Array, ""] = 0.99,
    deviation: float | Float[Array, ""] = 0.5,
    entropy: float | Float[Array, ""] = 0.01,
    value_weight: float | Float[Array, ""] = 0.5,
    reward_scale: float | Float[Array, ""] = 1.0,
) -> Callable[[PyTree, Key[Array, ""]], tuple[Float[Array, " episodes+1"], PyTree]]:
    """REINFORCE with a learned baseline, to be handed to `fit(gradient=..., batch=lambda key: key)`.

    Plays whole episodes with drawn actions, and descends, over all steps that were taken,
    -mean(log π(a|s) A) + `value_weight` · mean((V(s) - G)²) - `entropy` · mean(H(π(·|s))). The advantage is
    A = G - V(s), brought to mean 0 and standard deviation 1 over the steps; G is the discounted return to go.
    Choices are drawn with the outputs as logits; continuous actions from N(tanh(outputs), `deviation`²).

    Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning" (1992);
    with the value's loss and the entropy bonus of Mnih et al., "Asynchronous methods for deep reinforcement
    learning" (2016).

    **Arguments:**

    - `environment`: whose episodes are played.
    - `outputs`, `value`: `(params, observation) ->` the policy's outputs, and the expected return to go.
    - `episodes`: how many are played for one gradient.
    - `discount`: γ.
    - `deviation`: of continuous actions; constant, so that their entropy is too and its bonus does nothing.
    - `entropy`, `value_weight`: the weights of the two other terms.
    - `reward_scale`: multiplies the rewards, to keep the value's target near 1.

    **Returns:** `(params, key) -> (value, gradient)`; the value is every episode's undiscounted return, and last the
    number of frames that were played.
    """
    if environment.continuous:
        noise, act = jax.random.normal, lambda out, noise: jnp.tanh(out) + deviation * noise
        log_chance = lambda out, action: -(((action - jnp.tanh(out)) / deviation) ** 2).sum(-1) / 2
        spread = lambda out: jnp.zeros(out.shape[:-1])
    else:
        noise, act = jax.random.gumbel, lambda out, noise: jnp.argmax(out + noise)
        log_chance = lambda out, action: jnp.take_along_axis(
            jax.nn.log_softmax(out), action[..., None], -1
        ).squeeze(-1)
        spread = lambda out: -(jax.nn.softmax(out) * jax.nn.log_softmax(out)).sum(-1)

    def gradient(params: PyTree, key: Key[Array, ""]) -> tuple[Float[Array, " episodes+1"], PyTree]:
        start_key, noise_key = jax.random.split(key)
        drawn = noise(noise_key, (episodes, environment.horizon, environment.actions))
        play = lambda key, drawn: trajectory(
            environment, lambda seen, now: act(outputs(params, seen), now), key, drawn
        )
        paths = jax.vmap(play)(jax.random.split(start_key, episodes), drawn)
        target = jax.vmap(lambda r: returns_to_go(reward_scale * r, discount))(paths.rewards)
        alive = paths.alive.astype(float)
        frames = alive.sum()
        mean = lambda x: jnp.sum(alive * x) / frames

        def loss(params: Any) -> Float[Array, ""]:
            every = lambda f: jax.vmap(jax.vmap(lambda seen: f(params, seen)))(paths.observations)
            out, expected = every(outputs), every(value)
            advantage = jax.lax.stop_gradient(target - expected)
            advantage = advantage - mean(advantage)
            advantage = advantage / (jnp.sqrt(mean(advantage**2)) + 1e-8)
            return (
                -mean(log_chance(out, paths.actions) * advantage)
                + value_weight * mean((expected - target) ** 2)
                - entropy * mean(spread(out))
            )

        return jnp.append(paths.rewards.sum(1), frames), jax.grad(loss)(params)

    return gradient
