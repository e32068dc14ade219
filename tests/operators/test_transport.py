import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

from armillary.operators import along_characteristics, logistic_growth, spectral_solution

X = 2 * np.pi * np.arange(64) / 64
TIMES = np.array([0.0, 0.3, 1.0])


def start(x):
    return 0.5 + 0.4 * jnp.sin(x)


def test_logistic_growth_is_scipys():
    u = np.array([0.1, 0.5, 0.9])
    true = solve_ivp(lambda t, u: 5 * u * (1 - u), (0, 0.7), u, rtol=1e-10, atol=1e-10).y[:, -1]
    assert_allclose(logistic_growth(jnp.array(u), 0.7, 5.0), true, rtol=1e-5)


def test_without_reaction_the_wave_travels():
    got = along_characteristics(jnp.sin, jnp.array(X), 0.5, 30.0)
    assert_allclose(got, np.sin(X - 15), atol=1e-5)


def test_heat_and_transport_in_closed_form():
    # The second harmonic decays by exp(-4νt) while it travels.
    got = spectral_solution(jnp.sin(2 * X), jnp.array(TIMES), 3.0, 0.2)
    true = np.exp(-0.8 * TIMES)[:, None] * np.sin(2 * (X - 3 * TIMES[:, None]))
    assert_allclose(got, true, atol=5e-5)


@pytest.mark.parametrize("speed", [0.0, 30.0])
def test_solver_meets_the_characteristics(speed):
    got = spectral_solution(start(X), jnp.array(TIMES), speed, rate=5.0)
    true = along_characteristics(start, jnp.array(X), jnp.array(TIMES)[:, None], speed, 5.0)
    assert_allclose(got, true, atol=2e-4)


def test_all_three_terms_against_finite_differences():
    speed, viscosity, rate, n = 2.0, 0.05, 3.0, 512
    h = 2 * np.pi / n
    x = h * np.arange(n)

    def field(_, u):
        right, left = np.roll(u, -1), np.roll(u, 1)
        diffusion = viscosity * (right - 2 * u + left) / h**2
        return -speed * (right - left) / (2 * h) + diffusion + rate * u * (1 - u)

    true = solve_ivp(field, (0, 1), np.asarray(start(x)), rtol=1e-8, atol=1e-8).y[:, -1]
    got = spectral_solution(start(X), jnp.array([1.0]), speed, viscosity, rate)[0]
    assert_allclose(got, true[::8], atol=2e-4)
