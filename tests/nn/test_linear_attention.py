"""The moment form against the attention layer itself, token by token."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.nn import LinearAttention, prompt_moments


@pytest.mark.parametrize("attend_query", [False, True])
def test_the_layer_is_linear_self_attention(attend_query):
    rng = np.random.default_rng(0)
    dim, n = 3, 6
    layer = LinearAttention.random(dim, jax.random.key(0), scale=1.0, attend_query=attend_query)
    x, y, query = rng.normal(size=(n, dim)), rng.normal(size=n), rng.normal(size=(2, dim))
    found = layer(jnp.array(x), jnp.array(y), jnp.array(query))
    for q, prediction in zip(query, found):
        # E has the examples as columns and the query with a 0 for its response last
        tokens = np.c_[np.r_[x.T, y[None]], np.r_[q, 0]]
        seen = tokens if attend_query else tokens[:, :n]
        w_kq = np.zeros((dim + 1, dim + 1))
        w_kq[:, :dim] = layer.key_query
        out = sum((np.asarray(layer.value) @ t) * (t @ w_kq @ tokens[:, -1]) for t in seen.T) / n
        np.testing.assert_allclose(prediction, out, rtol=1e-4)


def test_blocks_are_a_preconditioned_step():
    rng = np.random.default_rng(1)
    x, y, query = rng.normal(size=(4, 9, 3)), rng.normal(size=(4, 9)), rng.normal(size=(4, 2, 3))
    block = rng.normal(size=(3, 3))
    layer = LinearAttention.from_blocks(0.7, jnp.array(block))
    np.testing.assert_allclose(layer.step, 0.7 * block.T, rtol=1e-6)
    gradient = -np.einsum("bn,bnd->bd", y, x) / 9  # of ½ mean (w·x - y)² at w = 0
    expected = np.einsum("bqd,de,be->bq", query, 0.7 * block.T, -gradient)
    np.testing.assert_allclose(layer(*map(jnp.array, (x, y, query))), expected, rtol=1e-4)


def test_moments():
    x, y = np.arange(6.0).reshape(3, 2), np.array([1.0, -1, 2])
    z = np.c_[x, y]
    np.testing.assert_allclose(prompt_moments(jnp.array(x), jnp.array(y)), z.T @ z / 3, rtol=1e-6)
