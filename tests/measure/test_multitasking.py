import jax.numpy as jnp
import numpy as np

from armillary.measure import (
    hierarchical_magnetizations,
    majority_magnetizations,
    multitasking_magnetizations,
)

START = jnp.array([0.5, 0.3, 0.1])


def test_the_laws_are_fixed_points_on_their_sides_of_the_golden_ratio():
    for d in (0.2, 0.4, 0.6):
        np.testing.assert_allclose(
            multitasking_magnetizations(d, START), hierarchical_magnetizations(d, 3), atol=1e-6
        )
    for d in (0.64, 0.8):
        np.testing.assert_allclose(
            multitasking_magnetizations(d, START), majority_magnetizations(d), atol=1e-6
        )
    half = (1 - 0.8) ** 3 / 2
    np.testing.assert_allclose(
        majority_magnetizations(0.8) - hierarchical_magnetizations(0.8, 3), [-half, half, half], atol=1e-6
    )


def test_undiluted_patterns_at_a_temperature():
    # one pattern is the mean-field magnet m = tanh(m/T)
    m = float(multitasking_magnetizations(0.0, jnp.array([0.9]), temperature=0.5)[0])
    np.testing.assert_allclose(m, np.tanh(m / 0.5), atol=1e-5)
    assert 0.95 < m < 0.96


def test_the_law_by_simulation():
    rng = np.random.default_rng(0)
    d, units = 0.7, 200_000
    xi = rng.choice([-1, 0, 1], size=(3, units), p=[(1 - d) / 2, d, (1 - d) / 2])
    state = np.sign(4 * xi[0] + 2 * xi[1] + xi[2])
    for _ in range(20):
        field = (xi @ state / units) @ xi
        state = np.where(field == 0, state, np.sign(field))
    np.testing.assert_allclose(majority_magnetizations(d), xi @ state / units, atol=5e-3)
