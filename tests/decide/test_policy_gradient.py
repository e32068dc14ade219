"""Returns and the policy gradient by hand, for choices and for continuous actions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.decide import Environment, pendulum, policy_gradient, returns_to_go
from armillary.train import fit


def test_returns_to_go():
    rewards = np.random.default_rng(0).normal(size=12)
    wanted = [sum(0.9 ** (s - t) * rewards[s] for s in range(t, 12)) for t in range(12)]
    np.testing.assert_allclose(returns_to_go(jnp.array(rewards), 0.9), wanted, atol=1e-5)


def test_the_policy_gradient_is_that_of_the_expected_return():
    # Two steps, two actions, reward 1 for action 1 in state 0 and for action 0 in state 1; the episode ends after
    # two. The expected return is a sum over the four paths, so its gradient's direction is known.
    def step(state, action):
        reward = jnp.where(state == 0, action == 1, action == 0).astype(float) * jnp.where(
            state == 0, 1.0, 2.0
        )
        return state + 1, reward, state == 1

    game = Environment(lambda key: jnp.array(0), step, lambda s: jax.nn.one_hot(s, 2), 2, 2, 3)
    logits = lambda p, seen: seen @ p

    def expected(p):
        chance = jax.nn.softmax(p)
        paths = itertools.product(range(2), range(2))
        return sum(chance[0, a] * chance[1, b] * ((a == 1) + 2.0 * (b == 0)) for a, b in paths)

    params = jnp.array([[0.3, -0.2], [0.1, 0.4]])
    rule = policy_gradient(
        game, logits, lambda p, s: 0.0 * p[0, 0], episodes=40_000, discount=1.0, entropy=0.0
    )
    value, found = jax.jit(rule)(params, jax.random.key(0))
    np.testing.assert_allclose(value[:-1].mean(), expected(params), atol=0.03)
    assert value.shape == (40_001,)
    assert value[-1] == 80_000
    wanted = -jax.grad(expected)(params)
    scale = np.vdot(found, wanted) / np.vdot(wanted, wanted)
    assert scale > 0
    np.testing.assert_allclose(found / scale, wanted, atol=0.02)


def test_the_gradient_of_a_gaussian_policy_is_that_of_its_expected_return():
    # One step with reward 2a₁ - a₂: the expectation over a ~ N(tanh(θ), σ²) is 2 tanh(θ₁) - tanh(θ₂).
    step = lambda state, action: (state, 2 * action[0] - action[1], jnp.array(True))
    game = Environment(lambda key: jnp.zeros(()), step, lambda s: s[None], 1, 2, 1, continuous=True)
    rule = policy_gradient(
        game, lambda p, s: p, lambda p, s: 0.0 * p[0], episodes=40_000, deviation=0.7, entropy=0.0
    )
    params = jnp.array([0.4, -0.9])
    value, found = jax.jit(rule)(params, jax.random.key(0))
    np.testing.assert_allclose(value[:-1].mean(), 2 * np.tanh(0.4) - np.tanh(-0.9), atol=0.03)
    wanted = -np.array([2.0, -1.0]) * (1 - np.tanh(params) ** 2)
    # Advantages are brought to deviation 1, here √5·0.7.
    np.testing.assert_allclose(found * 0.7 * 5**0.5, wanted, atol=0.03)


def test_it_learns_the_pendulum():
    sizes = (3, 16, 1)
    make = lambda key, out: {
        "in": jax.random.normal(key, (sizes[0], 16)) / 2, "bias": jnp.zeros(16), "out": jnp.zeros((16, out))
    }  # fmt: skip
    apply = lambda p, seen: jnp.tanh(seen @ p["in"] + p["bias"]) @ p["out"]
    keys = jax.random.split(jax.random.key(1))
    rule = policy_gradient(
        pendulum(), lambda p, s: apply(p[0], s), lambda p, s: apply(p[1], s)[0], episodes=4, discount=0.9,
        reward_scale=0.01,
    )  # fmt: skip
    start = make(keys[0], 1), make(keys[1], 1)
    run = jax.jit(
        lambda key: (
            fit(
                lambda p, k: 0.0, start, lambda k: k, optax.adam(0.01), steps=1000, key=key, gradient=rule
            ).loss
        )
    )(jax.random.key(2))
    returns = run[:, :-1].mean(1)
    assert returns[:50].mean() < -1000
    assert returns[-50:].mean() > -400
