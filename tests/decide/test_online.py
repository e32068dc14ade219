import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize

from armillary.decide import follow_leader, follow_regularized_leader, regret, regret_loss


@pytest.fixture
def losses():
    return np.random.default_rng(0).standard_normal((3, 6, 3))


def test_ftrl_by_minimizing(losses):
    """Each play minimizes the losses before it plus ‖π − 1/3‖² / (2 step) on the simplex, by SciPy."""
    plays = follow_regularized_leader(jnp.array(losses), 0.4)
    for t in (0, 3, 5):
        seen = losses[1, :t].sum(0)
        found = minimize(
            lambda p, seen=seen: p @ seen + np.sum((p - 1 / 3) ** 2) / 0.8,
            np.full(3, 1 / 3),
            bounds=[(0, 1)] * 3,
            constraints={"type": "eq", "fun": lambda p: p.sum() - 1},
        )
        np.testing.assert_allclose(plays[1, t], found.x, atol=1e-4)


def test_regret_by_hand(losses):
    plays = np.full((3, 6, 3), 1 / 3)
    expected = [x.mean(1).sum() - min(x.sum(0)) for x in losses]
    np.testing.assert_allclose(regret(jnp.array(plays), jnp.array(losses)), expected, atol=1e-5)
    found = regret_loss(lambda x: jnp.full(x.shape, 1 / 3), jnp.array(losses), link=jax.nn.relu)
    assert float(found) == pytest.approx(np.mean(np.maximum(expected, 0)), abs=1e-5)


def test_the_leader_loses_every_round_where_losses_alternate():
    losses = jnp.array([[0.5, 0], *[[0.0, 1], [1.0, 0]] * 10])
    assert float(regret(follow_leader(losses), losses)) == pytest.approx(0.25 + 20 - 10, abs=1e-5)


def test_bound_of_ftrl(losses):
    plays = follow_regularized_leader(jnp.array(losses), 0.4)
    bound = 1 / 0.8 + 0.2 * np.sum(losses**2, (1, 2))
    assert np.all(np.asarray(regret(plays, jnp.array(losses))) <= bound)
