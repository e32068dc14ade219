import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from armillary.series import lorenz63, lorenz96, orbit, rk4, rossler

START = np.array([1.0, 2.0, 20.0])


def fields():
    lorenz = lambda t, s: [10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 8 / 3 * s[2]]
    ross = lambda t, s: [-s[1] - s[2], s[0] + 0.2 * s[1], 0.2 + s[2] * (s[0] - 5.7)]

    def ring(t, s):
        n = len(s)
        return [(s[(i + 1) % n] - s[i - 2]) * s[i - 1] - s[i] + 8 for i in range(n)]

    return [(lorenz63, lorenz, START), (rossler, ross, START / 20), (lorenz96, ring, np.arange(6.0))]


@pytest.mark.parametrize(("field", "plain", "start"), fields())
def test_orbit_is_scipys(field, plain, start):
    got = jax.jit(lambda s: orbit(rk4(field, 0.005), s, 100, discard=100))(jnp.array(start))
    true = solve_ivp(plain, (0, 1), start, rtol=1e-10, atol=1e-10, t_eval=[0.505, 1.0]).y.T
    np.testing.assert_allclose(np.asarray(got)[[0, -1]], true, rtol=2e-4, atol=2e-4)


def test_rk4_has_order_four():
    # On dx/dt = x one step multiplies by the Taylor polynomial of degree 4.
    h = 0.5
    got = rk4(lambda x: x, h)(jnp.array([2.0]))
    np.testing.assert_allclose(got, 2 * (1 + h + h**2 / 2 + h**3 / 6 + h**4 / 24), rtol=1e-6)


def test_a_length_must_be_positive():
    with pytest.raises(ValueError, match="length=0"):
        orbit(lambda x: x, jnp.zeros(1), 0)
