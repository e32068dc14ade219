import jax.numpy as jnp
import numpy as np

from armillary.measure import first_crossing


def test_interpolates_from_either_side_and_knows_never():
    time = jnp.array([0.0, 1.0, 3.0, 4.0])
    curves = jnp.array(
        [[0.0, 4.0, 1.0, 0.0], [1.0, 3.0, 1.0, 2.0], [3.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 2.0]]
    )
    found = first_crossing(time, curves, jnp.array([2.0, 2.0, 2.0, 1.0]))
    # 1 to 3 within two units of time; 3 to 1 likewise; never; half way up at once, and not again.
    np.testing.assert_allclose(found, [2.0, 2.0, np.inf, 0.5])


def test_agrees_with_numpy_interpolation_of_a_rising_curve():
    time = np.linspace(0, 3, 50)
    curve = np.tanh(time)
    found = first_crossing(jnp.asarray(time), jnp.asarray(curve), 0.8)
    np.testing.assert_allclose(found, np.interp(0.8, curve, time), rtol=1e-5)
