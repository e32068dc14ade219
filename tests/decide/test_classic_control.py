"""Step by step against Gymnasium."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.decide import acrobot, cart_pole, mountain_car, pendulum

PAIRS = {
    "CartPole-v1": cart_pole,
    "MountainCar-v0": mountain_car,
    "Acrobot-v1": acrobot,
    "Pendulum-v1": pendulum,
}


@pytest.mark.parametrize("name", [name for name in PAIRS if name != "Pendulum-v1"])
def test_a_step_is_gymnasiums(name):
    ours, theirs = PAIRS[name](), gymnasium.make(name)
    assert theirs.spec.max_episode_steps == ours.horizon
    assert theirs.action_space.n == ours.actions
    assert theirs.observation_space.shape == (ours.observations,)
    theirs, rng = theirs.unwrapped, np.random.default_rng(0)
    with jax.enable_x64(True):
        step = jax.jit(ours.step)
        ends = 0
        for seed in range(6):
            theirs.reset(seed=seed)
            action = 0
            for t in range(400):
                state = np.array(theirs.state, float)
                if name == "MountainCar-v0":  # swings up, and at times into the left wall
                    action = int(rng.integers(3)) if rng.random() < 0.1 else (2 if state[1] >= 0 else 0)
                elif t % 3 == 0:
                    action = int(rng.integers(ours.actions))
                seen, reward, done, _, _ = theirs.step(action)
                after, our_reward, our_done = step(jnp.array(state), action)
                np.testing.assert_allclose(after, np.array(theirs.state, float), atol=1e-9)
                np.testing.assert_allclose(ours.observe(after), seen, atol=1e-6)
                assert (float(our_reward), bool(our_done)) == (float(reward), bool(done))
                if done:
                    ends += 1
                    break
    if name != "Acrobot-v1":
        assert ends


def test_every_branch_of_acrobot_and_the_wall_of_mountain_car():
    theirs, ours = gymnasium.make("Acrobot-v1").unwrapped, acrobot()
    car, our_car = gymnasium.make("MountainCar-v0").unwrapped, mountain_car()
    theirs.reset(seed=0), car.reset(seed=0)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        step, drive = jax.jit(ours.step), jax.jit(our_car.step)
        done_seen = set()
        for _ in range(300):  # any state, also fast ones, whose angles wrap and whose velocities are cut
            state = rng.uniform(-1, 1, 4) * np.array([np.pi, np.pi, 4 * np.pi, 9 * np.pi])
            theirs.state, action = state.copy(), int(rng.integers(3))
            _, reward, done, _, _ = theirs.step(action)
            after, our_reward, our_done = step(jnp.array(state), action)
            np.testing.assert_allclose(np.cos(after[:2]), np.cos(theirs.state[:2]), atol=1e-7)
            np.testing.assert_allclose(np.sin(after[:2]), np.sin(theirs.state[:2]), atol=1e-7)
            np.testing.assert_allclose(after[2:], theirs.state[2:], atol=1e-7)
            assert (float(our_reward), bool(our_done)) == (float(reward), bool(done))
            done_seen.add(bool(done))
        assert done_seen == {True, False}
        for state in ([-1.19, -0.06], [0.49, 0.06], [0.6, -0.001], [-1.2, 0.0]):
            car.state = tuple(state)
            _, _, done, _, _ = car.step(0)
            after, _, our_done = drive(jnp.array(state), 0)
            np.testing.assert_allclose(after, car.state, atol=1e-12)
            assert bool(our_done) == bool(done)


def test_a_step_of_the_pendulum_is_gymnasiums():
    theirs, ours = gymnasium.make("Pendulum-v1"), pendulum()
    assert theirs.spec.max_episode_steps == ours.horizon
    assert theirs.action_space.shape == (ours.actions,)
    assert theirs.observation_space.shape == (ours.observations,)
    theirs, rng = theirs.unwrapped, np.random.default_rng(0)
    torque = float(theirs.action_space.high[0])
    with jax.enable_x64(True):
        step = jax.jit(ours.step)
        theirs.reset(seed=0)
        for t in range(300):
            if t % 30 == 0:  # also many turns, and speeds at the limit
                theirs.state = rng.uniform(-1, 1, 2) * np.array([20.0, 8.0])
            state, action = np.array(theirs.state, float), rng.uniform(-1.5, 1.5, 1)
            seen, reward, done, _, _ = theirs.step(torque * action)
            after, our_reward, our_done = step(jnp.array(state), jnp.array(action))
            np.testing.assert_allclose(after, theirs.state, atol=1e-9)
            np.testing.assert_allclose(ours.observe(after), seen, atol=1e-6)
            np.testing.assert_allclose(our_reward, reward, rtol=1e-9)
            assert not done
            assert not our_done


def test_first_states_lie_where_gymnasiums_do():
    keys = jax.random.split(jax.random.key(0), 500)
    for name, make in PAIRS.items():
        theirs = gymnasium.make(name).unwrapped
        states = []
        for seed in range(500):
            theirs.reset(seed=seed)
            states.append(np.array(theirs.state))
        ours = np.asarray(jax.vmap(make().reset)(keys))
        room = 0.02 * np.ptp(states, 0) + 1e-9
        assert (abs(ours.min(0) - np.min(states, 0)) <= room).all()
        assert (abs(ours.max(0) - np.max(states, 0)) <= room).all()
