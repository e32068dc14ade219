"""Trained stacks against the best polynomials, which are computed without training."""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import regression_moments
from armillary.measure import best_rates, best_residual_risks, moment_spectrum, residual_risk
from armillary.nn import LinearAttentionStack
from armillary.train import fit_linear_attention_stack

MOMENTS = regression_moments(jax.random.key(0), 200, 12, jnp.ones(2))
SPECTRUM = moment_spectrum(*MOMENTS)


def risk(stack, moments):
    return jnp.mean(residual_risk(stack.residual_maps(moments.second_moment)[-1], moments.covariance))


def train(layers, key=1, **options):
    return fit_linear_attention_stack(
        risk, layers, 2, lambda _: MOMENTS, key=jax.random.key(key), steps=300, **options
    )


def test_one_layer_is_the_best_step_of_gradient_descent():
    stack = train(1).params
    np.testing.assert_allclose(risk(stack, MOMENTS), best_residual_risks(SPECTRUM, 1)[1], rtol=0.01)
    step = -stack.gains[0] * stack.kernels[0]
    np.testing.assert_allclose(step, best_rates(SPECTRUM, 1)[0] * np.eye(2), atol=0.05)


def test_two_layers_are_two_steps_unless_they_rewrite_their_inputs():
    two, four = best_residual_risks(SPECTRUM, 4)[jnp.array([2, 4])]
    kept = train(2, rewriting=0.0)
    assert not jnp.any(kept.params.rewrites)
    np.testing.assert_allclose(risk(kept.params, MOMENTS), two, rtol=0.05)  # these prompts are not isotropic
    free = train(2)
    assert 0.98 * four < risk(free.params, MOMENTS) < two / 2


def test_the_curve_is_the_logarithm_and_the_record_sees_the_stack_in_use():
    run = train(2, rewriting=0.0, scale=0.7, every=100, record=lambda stack: (risk(stack, MOMENTS), stack))
    risks, stacks = run.record
    np.testing.assert_allclose(run.loss, jnp.log(risks), rtol=1e-4)
    assert run.loss.shape == (3,)
    assert not jnp.any(stacks.rewrites)
    start = LinearAttentionStack.random(2, 2, jax.random.split(jax.random.key(1))[0], scale=0.7)
    np.testing.assert_array_equal(stacks.kernels[0], start.kernels)


def test_the_start_s_scale():
    stacks = [LinearAttentionStack.random(4, 50, jax.random.key(2), scale=s) for s in (0.3, 0.6)]
    np.testing.assert_allclose(jnp.std(stacks[0].kernels), 0.3 / 50**0.5, rtol=0.05)
    np.testing.assert_allclose(stacks[1].rewrites, 2 * stacks[0].rewrites, rtol=1e-6)
