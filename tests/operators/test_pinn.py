import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from armillary.operators import (
    Characteristics,
    PeriodicField,
    along_characteristics,
    fit_pinn,
    lagrangian_residual,
)

POINTS = jnp.array([[0.3, 0.2], [4.0, 0.9]])
SPEED, RATE = 3.0, 2.0


def start(x):
    return 0.5 + 0.4 * jnp.sin(x)


def residuals(state, position, share):
    at = lambda p: lagrangian_residual(state, position, p[0], p[1], speed=SPEED, share=share, rate=RATE)
    return jax.vmap(at)(POINTS)


def test_the_exact_solution_leaves_nothing_in_every_frame():
    for share in (0.0, 0.4, 1.0):
        position = lambda x, t, share=share: x + share * SPEED * t
        state = lambda x, t, f=position: along_characteristics(start, f(x, t), t, SPEED, RATE)
        got = residuals(state, position, share)
        assert_allclose(got.state, 0, atol=1e-5)
        assert_allclose(got.position, 0, atol=1e-6)


def test_labels_may_be_stretched():
    """In a frame whose labels are not positions at t = 0 the derivative goes through x_X."""
    position = lambda x, t: x + 0.5 * jnp.sin(x) + 0.4 * SPEED * t
    state = lambda x, t: along_characteristics(start, position(x, t), t, SPEED, RATE)
    assert_allclose(residuals(state, position, 0.4).state, 0, atol=1e-5)


def test_a_wrong_solution_leaves_what_is_wrong_with_it():
    # A wave that stands still in the fixed frame: u_t = 0, so c u_x - ρ u (1 - u) is left.
    got = residuals(lambda x, t: start(x), lambda x, t: x, 0.0)
    x = np.asarray(POINTS[:, 0])
    u = 0.5 + 0.4 * np.sin(x)
    assert_allclose(got.state, SPEED * 0.4 * np.cos(x) - RATE * u * (1 - u), rtol=1e-5)
    assert_allclose(residuals(lambda x, t: x, lambda x, t: x, 1.0).position, -1)


def test_the_state_does_not_train_the_positions():
    branch = Characteristics((4,), SPEED, jax.random.key(0))
    branch = jax.tree.map(lambda a: a + 0.1, branch)
    loss = lambda b: lagrangian_residual(jnp.add, b, *POINTS[0], speed=SPEED, share=0.5).state
    assert all(np.all(np.asarray(g) == 0) for g in jax.tree.leaves(jax.grad(loss)(branch)))


def test_networks_are_periodic_and_start_as_the_identity():
    field = PeriodicField((5, 5), jax.random.key(1))
    x, t = POINTS[0]
    assert_allclose(field(x + 2 * jnp.pi, t), field(x, t), atol=1e-5)
    branch = Characteristics((4,), SPEED, jax.random.key(0))
    assert branch(x, t) == x
    trained = jax.tree.map(lambda a: a + 0.1, branch)
    assert trained(x, jnp.zeros(())) == x
    assert trained(x, t) != x


def test_slow_transport_is_learnt():
    def residual(net, x, t):
        return lagrangian_residual(net, lambda x, t: x + 0 * t, x, t, speed=1.0, share=0.0)

    mismatch = lambda net, x: net(x, jnp.zeros(())) - jnp.sin(x)
    net = PeriodicField((16, 16), jax.random.key(0))
    run = jax.jit(lambda k: fit_pinn(residual, mismatch, net, k, steps=600, points=64, weight=10.0))(
        jax.random.key(1)
    )
    x = 2 * jnp.pi * jnp.arange(20) / 20
    got = jax.vmap(lambda x: run.params(x, jnp.array(0.8)))(x)
    assert_allclose(got, np.sin(x - 0.8), atol=0.06)
