"""The moment form against attention token by token, and the construction against the reference learners."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import gradient_descent
from armillary.nn import LinearAttention, LinearAttentionStack


def prompts(batch=(), length=7, dim=3, queries=2, seed=0):
    rng = np.random.default_rng(seed)
    shapes = (*batch, length, dim), (*batch, length), (*batch, queries, dim)
    return tuple(jnp.array(rng.normal(size=s), jnp.float32) for s in shapes)


def random_stack(layers=3, dim=3, rewrite=True, seed=1):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: jnp.array(0.4 * rng.normal(size=shape), jnp.float32)
    return LinearAttentionStack(
        draw(layers, dim, dim), draw(layers), draw(layers, dim, dim) if rewrite else None
    )


@pytest.mark.parametrize("rewrite", [True, False])
def test_the_stack_is_linear_self_attention(rewrite):
    x, y, query = (np.asarray(a, np.float64) for a in prompts())
    n, dim = x.shape
    stack = random_stack(rewrite=rewrite)
    tokens = np.c_[np.r_[x, query], np.r_[y, np.zeros(len(query))]].T  # a token a column
    mask = np.diag(np.r_[np.ones(n), np.zeros(len(query))])
    found = stack.layers(*map(jnp.array, prompts()))
    for layer, prediction in enumerate(found):
        value, key_query = np.zeros((2, dim + 1, dim + 1))
        value[:dim, :dim] = 0 if stack.rewrites is None else stack.rewrites[layer]
        value[dim, dim] = stack.gains[layer]
        key_query[:dim, :dim] = stack.kernels[layer]
        tokens = tokens + value @ tokens @ mask @ tokens.T @ key_query @ tokens / n
        np.testing.assert_allclose(prediction, -tokens[dim, n:], rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(stack(*prompts()), found[-1])


@pytest.mark.parametrize("curved", [True, False])
def test_the_construction_is_gradient_descent(curved):
    rates = jnp.array([0.5, 0.3, 0.6])
    curvatures = jnp.array([0.2, 0.1, 0.3]) if curved else None
    stack = LinearAttentionStack.from_gradient_descent(3, rates, curvatures)
    learner = gradient_descent(3, rates, curvature=curvatures, path=True)
    np.testing.assert_allclose(stack.layers(*prompts()), learner(*prompts())[1:], rtol=1e-4, atol=1e-6)


def test_one_layer_is_the_one_layer_module():
    stack = random_stack(layers=1)
    layer = LinearAttention.from_blocks(-stack.gains[0], stack.kernels[0])
    np.testing.assert_allclose(stack(*prompts((4,))), layer(*prompts((4,))), rtol=1e-4, atol=1e-6)


def test_a_batch_is_prompt_by_prompt_and_weights_are_the_sensitivity():
    x, y, query = prompts((2, 3))
    stack = random_stack()
    found = stack.layers(x, y, query)
    assert found.shape == (3, 2, 3, 2)
    np.testing.assert_allclose(
        found[:, 1, 2], stack.layers(x[1, 2], y[1, 2], query[1, 2]), rtol=1e-4, atol=1e-6
    )
    moment, correlation = x[0, 0].T @ x[0, 0] / 7, x[0, 0].T @ y[0, 0] / 7
    slope = jax.jacobian(lambda q: stack(x[0, 0], y[0, 0], q[None])[0])(query[0, 0, 0])
    np.testing.assert_allclose(stack.weights(moment, correlation)[-1], slope, rtol=1e-4, atol=1e-6)


def test_residual_maps_are_the_error_without_noise():
    x, _, _ = prompts((4,))
    task = np.random.default_rng(5).normal(size=(4, 3)).astype(np.float32)
    moment = jnp.swapaxes(x, -1, -2) @ x / 7
    stack = random_stack()
    error = task - stack.weights(moment, jnp.einsum("bde,be->bd", moment, task))
    expected = jnp.einsum("lbde,be->lbd", stack.residual_maps(moment), task)
    np.testing.assert_allclose(error, expected, rtol=1e-3, atol=1e-5)


def test_an_empty_layer_gets_no_gradient():
    """So a stack with empty layers at its end is a shallower stack, and stays one under training."""
    full = random_stack()
    stack = jax.tree.map(lambda a: a.at[2:].set(0), full)
    moment = jnp.eye(3)[None] * jnp.array([0.5, 1, 2])
    np.testing.assert_allclose(stack.residual_maps(moment)[2], stack.residual_maps(moment)[1], rtol=1e-6)
    slope = jax.grad(lambda s: jnp.sum(s.residual_maps(moment)[-1] ** 2))(stack)
    assert all(bool((leaf[2:] == 0).all()) and bool((leaf[0] != 0).any()) for leaf in jax.tree.leaves(slope))
