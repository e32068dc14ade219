import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import (
    cross_entropy,
    directional_curvature,
    flatten,
    gauss_newton_matrix,
    green_barrier,
    green_function,
    hessian_matrix,
    path_curvature,
)
from armillary.nn import MLP

MODEL = lambda net, batch: net(batch[0])
OBJECTIVE = lambda out, batch: cross_entropy(out, batch[1])
LOSS = lambda net, batch: OBJECTIVE(MODEL(net, batch), batch)


def pair():
    keys = jax.random.split(jax.random.key(0), 3)
    a, b = (MLP((3, 6, 4), k, activation=jnp.tanh, init="torch") for k in keys[:2])
    return a, b, (3 * jax.random.normal(keys[2], (20, 3)), jnp.arange(20) % 4)


def test_curvature_against_the_explicit_matrices():
    a, b, batch = pair()
    delta = flatten(b)[0] - flatten(a)[0]
    got = directional_curvature(MODEL, OBJECTIVE, a, flatten(a)[1](delta), batch)
    slope = flatten(jax.grad(lambda net: LOSS(net, batch))(a))[0] @ delta
    hessian = delta @ hessian_matrix(LOSS, a, batch) @ delta
    gauss_newton = delta @ gauss_newton_matrix(MODEL, OBJECTIVE, a, batch) @ delta
    expected = LOSS(a, batch), slope, hessian, gauss_newton
    np.testing.assert_allclose(got, expected, rtol=1e-4)
    assert abs(hessian - gauss_newton) > 0.01 * abs(hessian)


def test_path_runs_from_one_end_to_the_other():
    a, b, batch = pair()
    path = path_curvature(MODEL, OBJECTIVE, a, b, batch, points=5)
    np.testing.assert_allclose([path.loss[0], path.loss[-1]], [LOSS(a, batch), LOSS(b, batch)], rtol=1e-5)
    back = path_curvature(MODEL, OBJECTIVE, b, a, batch, points=5)
    np.testing.assert_allclose(path.hessian, back.hessian[::-1], rtol=1e-3)
    np.testing.assert_allclose(path.slope, -back.slope[::-1], rtol=1e-3, atol=1e-5)


def test_barrier_is_the_green_integral_of_the_curvature():
    a, b, batch = pair()
    path = path_curvature(MODEL, OBJECTIVE, a, b, batch, points=33)
    height = path.loss[16] - (path.loss[0] + path.loss[-1]) / 2
    np.testing.assert_allclose(green_barrier(path.hessian), height, rtol=1e-3)
    assert green_barrier(path.gauss_newton) < 0


def test_green_barrier_in_closed_form():
    s = jnp.linspace(0, 1, 9)
    np.testing.assert_allclose(green_barrier(jnp.full(9, 3.0)), -3 / 8, rtol=1e-6)
    np.testing.assert_allclose(green_barrier(20 * s**3), 1 / 32 - 1 / 2, rtol=1e-6)  # f = s⁵
    error = lambda t: green_barrier(30 * t**4) - (1 / 64 - 1 / 2)  # f = s⁶
    np.testing.assert_allclose(error(s) / error(jnp.linspace(0, 1, 17)), 16, rtol=0.05)
    with pytest.raises(ValueError, match="multiple of 4"):
        green_barrier(jnp.ones(7))


def test_green_function_solves_its_equation():
    s = np.linspace(0, 1, 11)
    g = np.array(green_function(0.3, jnp.array(s)))
    expected = np.linalg.solve((2 * np.eye(9) - np.eye(9, k=1) - np.eye(9, k=-1)) * 100, np.eye(9)[2] * 10)
    np.testing.assert_allclose(g[1:-1], expected, rtol=1e-5)
    assert g[0] == g[-1] == 0
