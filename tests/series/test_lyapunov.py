import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from armillary.series import LORENZ63_EXPONENTS, lorenz63, lyapunov_exponents, orbit, rk4


def test_linear_map_in_closed_form():
    # Eigenvalues 1.5, -0.9, 0.2 in a basis that is not orthogonal: exponents are ln |eigenvalue|.
    basis = np.array([[1.0, 0.5, -0.3], [0.0, 1.0, 0.8], [0.2, 0.0, 1.0]])
    values = np.array([1.5, -0.9, 0.2])
    matrix = jnp.asarray(basis @ np.diag(values) @ np.linalg.inv(basis), jnp.float32)
    got = lyapunov_exponents(lambda z: matrix @ z, jnp.zeros(3), length=400, every=2, discard=100)
    assert_allclose(got.exponents, np.log(np.abs(values)), atol=1e-4)


@pytest.mark.parametrize("every", [1, 10])
def test_lorenz63_has_its_known_exponents(every):
    def run(start):
        step = rk4(lorenz63, 0.02)
        start = orbit(step, start, 1, discard=1000)[-1]
        return lyapunov_exponents(step, start, length=20_000, every=every, discard=100).exponents / 0.02

    starts = jax.random.normal(jax.random.key(0), (4, 3)) + jnp.array([0.0, 0.0, 25.0])
    got = np.asarray(jax.jit(jax.vmap(run))(starts))
    assert_allclose(got.mean(0), LORENZ63_EXPONENTS, atol=0.015)
    # The sum is the divergence of the field at every point: known far better than the exponents.
    assert_allclose(got.sum(1), -(10 + 1 + 8 / 3), atol=2e-3)


def test_henon_map_contracts_area_by_b():
    henon = lambda z: jnp.stack([1 - 1.4 * z[0] ** 2 + z[1], 0.3 * z[0]])
    got = jax.jit(lambda z: lyapunov_exponents(henon, z, length=20_000, discard=100))(jnp.array([0.1, 0.1]))
    assert_allclose(got.exponents[0], 0.4192, atol=0.01)  # Sprott 2003
    assert_allclose(got.exponents.sum(), np.log(0.3), atol=1e-4)


def test_the_largest_alone_and_the_orbit():
    step = lambda z: jnp.array([0.5, 2.0]) * z
    got = lyapunov_exponents(step, jnp.ones(2), length=6, count=1, every=3, discard=60)
    assert_allclose(got.exponents, [np.log(2)], rtol=1e-4)
    assert_allclose(got.orbit[:, 1], 2.0 ** np.arange(61, 67), rtol=1e-6)


@pytest.mark.parametrize(
    "bad", [{"length": 5, "every": 2}, {"length": 4, "count": 3}, {"length": 4, "discard": -1}]
)
def test_refuses(bad):
    with pytest.raises(ValueError, match="must be"):
        lyapunov_exponents(lambda z: z, jnp.zeros(2), **bad)
