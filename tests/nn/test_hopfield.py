"""The network through its overlaps against the network with a matrix of couplings."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.nn import HopfieldNetwork


def test_rules_and_steps_are_those_of_the_matrix():
    rng = np.random.default_rng(0)
    examples = rng.choice([-1.0, 0.0, 1.0], size=(2, 5, 30))
    state = rng.choice([-1.0, 1.0], size=30)
    mean = examples[:, :3].mean(1)
    couplings = {
        "supervised": sum(np.outer(p, p) for p in mean) / 30,
        "unsupervised": sum(np.outer(e, e) for p in examples for e in p[:3]) / 3 / 30,
        "hebbian": sum(np.outer(p, p) for p in examples[:, 0]) / 30,
    }
    for rule, matrix in couplings.items():
        made = getattr(HopfieldNetwork, rule)
        network = made(jnp.array(examples[:, 0])) if rule == "hebbian" else made(jnp.array(examples), 3)
        field = matrix @ state
        field[abs(field) < 1e-12] = 0
        wanted = np.where(field == 0, state, np.sign(field))
        # rounding may decide units whose field is next to nothing
        clear = (abs(field) > 1e-5) | (field == 0) & (rule == "hebbian")
        np.testing.assert_array_equal(network.step(jnp.array(state))[clear], wanted[clear])
        assert clear.mean() > 0.5
        # Glauber: P(σ = 1) = 1/(1 + exp(-2h/T))
        keys = jax.random.split(jax.random.key(0), 4000)
        drawn = jax.vmap(lambda k: network.step(jnp.array(state), temperature=0.4, key=k))(keys)  # noqa: B023
        np.testing.assert_allclose(drawn.mean(0), np.tanh(field / 0.4), atol=0.07)
