"""Episodes against loops written by hand."""

import gymnasium
import jax
import jax.numpy as jnp
import numpy as np

from armillary.decide import cart_pole, episode, pendulum, trajectory


def test_an_episode_is_a_loop_written_by_hand():
    env = cart_pole()
    act = lambda seen: (seen[2] + 0.3 * seen[3] > 0).astype(int)
    keys = jax.random.split(jax.random.key(3), 4)
    lazy = jax.jit(jax.vmap(lambda k, gain: episode(env, lambda s: (gain * s[2] + s[1] > 0).astype(int), k)))
    played = lazy(keys, jnp.array([-1.0, 0.0, 1.0, 3.0]))
    for i, gain in enumerate((-1.0, 0.0, 1.0, 3.0)):
        theirs = gymnasium.make("CartPole-v1").unwrapped
        theirs.reset(seed=0)
        theirs.state = np.array(env.reset(keys[i]), float)
        length, done, seen = 0, False, theirs.state
        while not done and length < 500:
            seen, _, done, _, _ = theirs.step(int(gain * seen[2] + seen[1] > 0))
            length += 1
        assert abs(int(played.length[i]) - length) <= 1  # the last bit may decide a late step
        assert float(played.total[i]) == float(played.length[i])
    path = jax.jit(lambda k: trajectory(env, lambda s, k: act(s), k))(keys[0])
    assert path.rewards.sum() == path.alive.sum() == 500


def test_a_trajectory_stops_at_its_end():
    path = trajectory(cart_pole(), lambda s, k: jnp.array(1), jax.random.key(0))
    given = jnp.arange(500)  # noise in the keys' place, a step's to each step
    same = trajectory(cart_pole(), lambda s, n: jnp.where(n >= 0, 1, 0), jax.random.key(0), given)
    np.testing.assert_array_equal(same.observations, path.observations)
    there = trajectory(cart_pole(), lambda s, n: n % 2, jax.random.key(0), given)
    np.testing.assert_array_equal(there.actions[there.alive], given[there.alive] % 2)
    length = int(path.alive.sum())
    assert 5 < length < 20
    assert path.alive[:length].all()
    assert not path.alive[length:].any()
    assert path.rewards.sum() == length


def test_an_endless_environment_is_the_same_loop():
    play = lambda world: jax.jit(lambda k: episode(world, lambda seen: jnp.tanh(seen[2:] - seen[:1]), k))
    key = jax.random.key(5)
    fixed, open_ended = (play(pendulum()._replace(endless=e))(key) for e in (True, False))
    assert fixed.length == open_ended.length == 200
    np.testing.assert_array_equal(fixed.total, open_ended.total)
    np.testing.assert_array_equal(fixed.state, open_ended.state)


def test_what_outputs_stand_for():
    outputs = jnp.array([[0.5, -2.0], [3.0, 4.0]])
    np.testing.assert_array_equal(cart_pole().greedy(outputs), [0, 1])
    np.testing.assert_allclose(pendulum().greedy(outputs), np.tanh(outputs), rtol=1e-6)
