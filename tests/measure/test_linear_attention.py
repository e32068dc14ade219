"""Closed forms against sampled prompts, moments counted one by one, direct minimization, and quadrature."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from armillary.data import linear_regression_prompts
from armillary.measure import (
    effective_step,
    linear_attention_layer_risk,
    linear_attention_optimum,
    linear_attention_risk,
    one_step_optimum,
)
from armillary.nn import LinearAttention
from armillary.train import fit

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


def some_layer(dim, *, attend_query=False):
    """Every weight away from zero."""
    return LinearAttention.random(dim, jax.random.key(5), scale=0.6, attend_query=attend_query)


def layer_risk(layer, covariance, length, **setting):
    own = 1 / length if layer.attend_query else 0.0
    return linear_attention_layer_risk(
        layer.value, layer.key_query, covariance, length, attend_query=own, **setting
    )


def squared_errors(layer, draw):
    return jnp.mean((layer(draw.x, draw.y, draw.query) - draw.target) ** 2, -1)


@pytest.mark.parametrize("attend_query", [False, True])
@pytest.mark.parametrize("setting", SETTINGS)
def test_layer_risk_is_the_mean_over_prompts(setting, attend_query):
    layer = some_layer(3, attend_query=attend_query)
    squares = squared_errors(layer, sample(400_000, queries=2, **setting))
    exact = layer_risk(layer, SPECTRUM, 6, **setting)
    assert abs(squares.mean() - exact) < 4 * squares.std() / len(squares) ** 0.5
    assert squares.std() / len(squares) ** 0.5 < 0.02 * exact


def times(a, b):
    """The product of two polynomials, {sorted variables: coefficient}."""
    out = {}
    for (u, x), (v, y) in itertools.product(a.items(), b.items()):
        term = tuple(sorted(u + v))
        out[term] = out.get(term, 0.0) + x * y
    return out


def plus(*terms):
    out = {}
    for term, x in itertools.chain(*(t.items() for t in terms)):
        out[term] = out.get(term, 0.0) + x
    return out


def expectation(polynomial):
    """Over independent standard normal variables: a product of (k - 1)!!, or 0 where a power k is odd."""
    total = 0.0
    for term, x in polynomial.items():
        powers = [len(list(g)) for _, g in itertools.groupby(term)]
        total += x * math.prod(0 if k % 2 else math.prod(range(1, k, 2)) for k in powers)
    return total


@pytest.mark.parametrize("attend_query", [False, True])
@pytest.mark.parametrize("length", [1, 2])
def test_layer_risk_is_the_sum_of_all_its_moments(length, attend_query):
    """Every monomial of (prediction - y_q)² written out in the 2 + 3(length + 1) normal variables of a prompt."""
    dim, noise = 2, 0.4
    roots = [np.array([[1.0, 0], [0.5, 0.7]]), np.array([[1.2, 0], [-0.4, 0.5]])]
    layer = some_layer(dim, attend_query=attend_query)
    scaled = lambda name, root: [
        {(f"{name}{j}",): root[i, j] for j in range(dim) if root[i, j]} for i in range(dim)
    ]
    w = scaled("w", roots[1])
    xs = [scaled(f"x{i}-", roots[0]) for i in range(length + 1)]
    ys = [plus(*map(times, x, w), {(f"e{i}",): noise**0.5}) for i, x in enumerate(xs)]
    query = xs[-1]
    tokens = [[*x, y] for x, y in zip(xs[:-1], ys[:-1])] + [[*query, {}]] * attend_query
    number = lambda x: {(): float(x)}
    error = times(number(-1), ys[-1])
    for token in tokens:
        read = plus(*(times(number(v), t) for v, t in zip(layer.value, token)))
        for a, b in itertools.product(range(dim + 1), range(dim)):
            weight = number(layer.key_query[a, b] / length)
            error = plus(error, times(times(read, token[a]), times(query[b], weight)))
    exact = layer_risk(
        layer,
        jnp.array(roots[0] @ roots[0].T),
        length,
        task_covariance=jnp.array(roots[1] @ roots[1].T),
        noise=noise,
    )
    np.testing.assert_allclose(exact, expectation(times(error, error)), rtol=1e-5)


@pytest.mark.parametrize("setting", SETTINGS)
def test_layer_risk_of_a_block_sparse_layer_is_that_of_its_step(setting):
    layer = LinearAttention.from_blocks(0.7, jnp.array([[0.8, 0.1, 0.0], [-0.2, 0.9, 0.1], [0.0, 0.3, 0.7]]))
    expected = linear_attention_risk(layer.step, SPECTRUM, 6, **setting)
    np.testing.assert_allclose(layer_risk(layer, SPECTRUM, 6, **setting), expected, rtol=1e-5)


@pytest.mark.parametrize("setting", [SETTINGS[2], SETTINGS[3]])
def test_sampled_training_follows_training_on_the_layer_risk(setting):
    """The same descent from the same start, with 4,096 fresh prompts a step."""
    start = LinearAttention.random(3, jax.random.key(1), scale=0.3)
    train = lambda loss, batch: (
        fit(loss, start, batch, optax.sgd(0.05), steps=200, key=jax.random.key(2)).params
    )
    draw = lambda key: linear_regression_prompts(
        key,
        4096,
        6,
        SPECTRUM,
        task_covariance=setting.get("task_covariance"),
        noise=setting.get("noise", 0.0),
        link=lambda u: jnp.where(u < 0, setting.get("slope", 1.0) * u, u),
        queries=4,
    )
    exact = train(lambda layer, law: layer_risk(layer, law, 6, **setting), SPECTRUM)
    sampled = train(lambda layer, prompts: squared_errors(layer, prompts).mean(), draw)
    for a, b, first in zip(*map(jax.tree.leaves, (exact, sampled, start))):
        scale = jnp.abs(a).max()
        np.testing.assert_allclose(b, a, atol=0.02 * scale)
        assert jnp.abs(a - first).max() > 0.5 * scale


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
