import itertools

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import HiddenMarkov, hidden_markov

MODEL = HiddenMarkov(
    jnp.array([0.5, 0.3, 0.2]),
    jnp.array([[0.1, 0.6, 0.3], [0.5, 0.25, 0.25], [0.2, 0.2, 0.6]]),
    jnp.array([[0.7, 0.3], [0.1, 0.9], [0.5, 0.5]]),
)


def path_probability(states, symbols):
    first, move, emit = (np.asarray(a, float) for a in MODEL)
    steps = itertools.pairwise(states)
    return (
        first[states[0]]
        * np.prod([move[a, b] for a, b in steps])
        * np.prod(emit[list(states), list(symbols)])
    )


def test_the_belief_by_summing_over_all_paths():
    symbols = (0, 1, 1, 0)
    weights = np.zeros(3)
    for states in itertools.product(range(3), repeat=4):
        weights[states[-1]] += path_probability(states, symbols)
    np.testing.assert_allclose(MODEL.belief(jnp.array(symbols)), weights / weights.sum(), rtol=1e-5)


def test_sequences_are_as_frequent_as_their_paths_say():
    drawn = jax.vmap(lambda k: MODEL.sample(k, 3))(jax.random.split(jax.random.key(0), 20_000))
    for symbols in itertools.product(range(2), repeat=3):
        expected = sum(path_probability(s, symbols) for s in itertools.product(range(3), repeat=3))
        found = np.mean(np.all(np.asarray(drawn) == symbols, 1))
        assert abs(found - expected) < 4 * np.sqrt(expected / 20_000)


def test_random_models_are_laws():
    model = hidden_markov(jax.random.key(0), 30, 7)
    for rows in (model.transition, model.emission, model.initial[None]):
        np.testing.assert_allclose(rows.sum(1), 1, rtol=1e-5)
    assert np.median(model.transition.max(1)) > 0.2  # concentrated on few states
