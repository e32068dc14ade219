import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from armillary.series import (
    ShallowPLRNN,
    adaptive_forcing,
    critical_forcing,
    force,
    forced_gradient,
    forced_rollout,
    generalized_teacher_forcing,
    lorenz63,
    orbit,
    rk4,
)

MODEL = ShallowPLRNN(3, 10, jax.random.key(1))
SERIES = jax.random.normal(jax.random.key(2), (12, 3))


def by_hand(alpha, every=1):
    z, states = SERIES[0], []
    for t in range(len(SERIES) - 1):
        z = MODEL((1 - alpha) * z + alpha * SERIES[t] if t % every == 0 else z)
        states.append(z)
    return np.stack(states)


@pytest.mark.parametrize(("alpha", "every"), [(0.0, 1), (0.3, 1), (1.0, 1), (1.0, 4)])
def test_rollout_is_the_loop(alpha, every):
    got = forced_rollout(MODEL, SERIES, alpha, every=float(every))
    assert_allclose(got, by_hand(alpha, every), rtol=1e-5, atol=1e-5)
    loss = generalized_teacher_forcing(MODEL, SERIES, alpha, every=float(every))
    assert_allclose(loss, np.mean((by_hand(alpha, every) - SERIES[1:]) ** 2), rtol=1e-5)


def test_full_forcing_predicts_one_step():
    assert_allclose(forced_rollout(MODEL, SERIES, 1.0), jax.vmap(MODEL)(SERIES[:-1]), rtol=1e-5, atol=1e-6)


def test_held_constant_the_states_are_the_same_and_the_factor_is_gone():
    z, x = jnp.array([1.0, 2.0]), jnp.array([-1.0, 0.5])
    assert_allclose(force(z, x, 0.3, straight_through=1.0), force(z, x, 0.3))
    assert_allclose(jax.jacobian(lambda z: force(z, x, 0.3))(z), 0.7 * np.eye(2), rtol=1e-6)
    assert_allclose(jax.jacobian(lambda z: force(z, x, 0.3, straight_through=1.0))(z), np.eye(2))


@pytest.mark.parametrize("constant", [0.0, 1.0])
@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_gradient_sizes_are_the_chain_rules(alpha, constant):
    z, product = np.asarray(SERIES[0]), np.eye(3)
    got = forced_gradient(MODEL, SERIES, alpha, straight_through=constant)
    for t in range(len(SERIES) - 1):
        forced = (1 - alpha) * z + alpha * np.asarray(SERIES[t])
        product = np.asarray(MODEL.jacobian(forced)) @ product * (1.0 if constant else 1 - alpha)
        z = np.asarray(MODEL(forced))
        gradient = (z - np.asarray(SERIES[t + 1])) @ product
        assert_allclose(got.log_jacobian[t], np.log(np.linalg.norm(product)), rtol=1e-4, atol=1e-4)
        assert_allclose(got.log_gradient[t], np.log(np.linalg.norm(gradient)), rtol=1e-4, atol=1e-3)


def test_gradients_grow_by_the_exponent_plus_ln_of_what_is_left():
    """On the true system the law is exact, and holds where the gradient itself underflows."""
    step = rk4(lorenz63, 0.02)
    series = orbit(step, jnp.array([1.0, 1.0, 20.0]), 4001, discard=1000)
    size = jax.jit(lambda a: forced_gradient(step, series, a).log_jacobian)
    for alpha in (0.1, 0.3):
        assert_allclose(size(alpha)[-1] / 4000, 0.9056 * 0.02 + np.log(1 - alpha), atol=2e-3)


def test_critical_and_adaptive_strength():
    assert_allclose(critical_forcing(np.log(1.25)), 0.2, rtol=1e-5)
    assert critical_forcing(-0.3) == 0
    # The mean of diag(4, 1) and diag(0, 1) has norm 2.
    jacobians = jnp.array([[[4.0, 0], [0, 1]], [[0, 0], [0, 1.0]]])
    assert_allclose(adaptive_forcing(jacobians), 0.5, rtol=1e-5)
    assert adaptive_forcing(jacobians / 10) == 0
