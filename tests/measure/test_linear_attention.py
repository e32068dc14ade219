"""Closed forms against sampled prompts, direct minimization, and quadrature."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from armillary.data import linear_regression_prompts
from armillary.measure import (
    effective_step,
    linear_attention_optimum,
    linear_attention_risk,
    one_step_optimum,
)
from armillary.nn import LinearAttention

SPECTRUM = jnp.array([1.0, 0.5, 0.25])
TASKS = jnp.array([0.5, 1.0, 2.0])
SETTINGS = [
    {},
    {"noise": 0.4},
    {"task_covariance": TASKS, "noise": 0.2},
    {"slope": 0.0},
    {"slope": 0.3, "noise": 0.1, "task_covariance": TASKS},
]


def sample(prompts, *, noise=0.0, slope=1.0, task_covariance=None, queries=1):
    return linear_regression_prompts(
        jax.random.key(0),
        prompts,
        6,
        SPECTRUM,
        task_covariance=task_covariance,
        noise=noise,
        link=lambda u: jnp.where(u < 0, slope * u, u),
        queries=queries,
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_risk_is_the_mean_over_prompts(setting):
    found = sample(200_000, **setting)
    matrix = jnp.array([[0.8, 0.1, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.3, 0.7]])
    mean = jnp.einsum("pn,pnd->pd", found.y, found.x) / 6
    squares = (jnp.einsum("pqd,de,pe->pq", found.query, matrix, mean) - found.target) ** 2
    exact = linear_attention_risk(matrix, SPECTRUM, 6, **setting)
    assert abs(squares.mean() - exact) < 4 * squares.std() / len(squares) ** 0.5


@pytest.mark.parametrize("setting", SETTINGS)
def test_optimum_is_what_a_minimizer_finds(setting):
    risk = jax.jit(lambda a: linear_attention_risk(a.reshape(3, 3), SPECTRUM, 6, **setting))
    found = scipy.optimize.minimize(
        risk, np.zeros(9), jac=jax.grad(risk), method="BFGS", options={"gtol": 1e-6}
    )
    matrix, least = linear_attention_optimum(SPECTRUM, 6, **setting)
    np.testing.assert_allclose(matrix, found.x.reshape(3, 3), atol=3e-3)
    np.testing.assert_allclose(least, found.fun, rtol=1e-4)


def test_optimum_is_the_paper_s_for_linear_responses():
    covariance = np.diag(SPECTRUM)
    expected = np.linalg.inv((1 + 1 / 6) * covariance + np.trace(covariance) / 6 * np.eye(3))
    matrix, least = linear_attention_optimum(SPECTRUM, 6)
    np.testing.assert_allclose(matrix, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        least, np.trace(covariance) - np.trace(covariance @ covariance @ expected), rtol=1e-4
    )


def test_one_step_optima_are_the_paper_s():
    np.testing.assert_allclose(one_step_optimum(jnp.ones(5), 20, noise=0.25), np.eye(5) / 26.25, rtol=1e-5)
    np.testing.assert_allclose(one_step_optimum(jnp.ones(5), 20, slope=0.0), np.eye(5) / 33, rtol=1e-5)
    np.testing.assert_allclose(one_step_optimum(SPECTRUM, 20), np.diag(1 / SPECTRUM) / 24, rtol=1e-5)
    general, _ = linear_attention_optimum(SPECTRUM, 20, 1 / SPECTRUM, noise=0.5)
    np.testing.assert_allclose(one_step_optimum(SPECTRUM, 20, noise=0.5), general / 20, rtol=1e-4)


def test_links_by_quadrature():
    relu = lambda u: np.maximum(u, 0)
    np.testing.assert_allclose(
        one_step_optimum(jnp.ones(4), 9, link=relu), np.eye(4) / (9 + 8 + 3), rtol=1e-5
    )
    np.testing.assert_allclose(one_step_optimum(jnp.ones(4), 9, link=np.abs), 0, atol=1e-7)
    # sin, against a large sample: M minimizes the risk over multiples of I
    draw = linear_regression_prompts(jax.random.key(3), 200_000, 5, jnp.ones(2), link=jnp.sin)
    feature = jnp.einsum("pqd,pd->pq", draw.query, jnp.einsum("pn,pnd->pd", draw.y, draw.x)).ravel()
    fitted = feature @ draw.target.ravel() / (feature @ feature)
    np.testing.assert_allclose(one_step_optimum(jnp.ones(2), 5, link=np.sin)[0, 0], fitted, rtol=0.03)


def test_effective_step_recovers_a_layer_and_sees_what_is_not_one():
    draw = sample(300, queries=2)
    block = jnp.array([[0.5, 0.2, 0.0], [0.1, 0.4, 0.3], [0.0, 0.0, 0.9]])
    layer = LinearAttention.from_blocks(1.5, block)
    found = effective_step(layer(draw.x, draw.y, draw.query), draw.x, draw.y, draw.query)
    np.testing.assert_allclose(found.matrix, layer.step, atol=1e-3)
    assert found.residual < 1e-6
    other = effective_step(jnp.sum(draw.query, -1) ** 2, draw.x, draw.y, draw.query)
    assert other.residual > 0.9
