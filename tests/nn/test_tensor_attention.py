import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.nn import exponential_features, monomial_weights, tensor_attention


def inputs(n=6, dim=3, features=2, scale=1.0):
    rng = np.random.default_rng(0)
    q, a, b = scale * rng.uniform(-1, 1, (3, n, dim))
    return q, (a, b), tuple(rng.normal(size=(2, n, features)))


def by_hand(q, k, v):
    out = np.zeros((len(q), v[0].shape[1]))
    for i in range(len(q)):
        total = 0
        for j in range(len(q)):
            for m in range(len(q)):
                weight = math.exp(sum(q[i] * k[0][j] * k[1][m]) / q.shape[1])
                total += weight
                out[i] += weight * v[0][j] * v[1][m]
        out[i] /= total
    return out


def test_attention_over_pairs_is_the_triple_sum():
    q, k, v = inputs()
    np.testing.assert_allclose(tensor_attention(q, k, v), by_hand(q, k, v), rtol=1e-5)


def test_large_scores_do_not_overflow():
    q, k, v = inputs(scale=20.0)
    found = tensor_attention(jnp.array(q), k, v)
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("dim", "degree"), [(1, 3), (3, 4), (4, 2)])
def test_monomials_sum_to_the_taylor_polynomial(dim, degree):
    x, y, z = np.random.default_rng(1).normal(size=(3, dim))
    features = [exponential_features(jnp.array(a), degree) for a in (x, y, z)]
    assert features[0].shape == (math.comb(dim + degree, degree),)
    score = sum(x * y * z)
    expected = sum(score**n / math.factorial(n) for n in range(degree + 1))
    found = np.sum(monomial_weights(dim, degree) * np.prod(features, 0))
    assert found == pytest.approx(expected, rel=1e-4)


def test_the_approximation_converges_as_the_remainder_says():
    q, k, v = inputs(scale=1.0)
    with jax.enable_x64(True):
        q, k, v = jax.tree.map(jnp.array, (q, k, v))
        exact = tensor_attention(q, k, v)
        errors = [float(abs(tensor_attention(q, k, v, degree=g) - exact).max()) for g in (2, 4, 8, 12)]
    worst = float(jnp.max(abs(jnp.einsum("id,jd,kd->ijk", q, *k)))) / 3
    spread = float(abs(v[0]).max() * abs(v[1]).max())
    for g, error in zip((2, 4, 8, 12), errors):
        assert error < 4 * spread * worst ** (g + 1) / math.factorial(g + 1) * math.exp(2 * worst) + 1e-14
    assert errors[0] > 100 * errors[1] > 1e4 * errors[2]


def test_batches_are_mapped_over():
    q, k, v = inputs()
    two = tensor_attention(
        jnp.stack([q, q[::-1]]),
        tuple(jnp.stack([a, a]) for a in k),
        tuple(jnp.stack([a, a]) for a in v),
        degree=4,
    )
    np.testing.assert_allclose(two[0], tensor_attention(jnp.array(q), k, v, degree=4), rtol=1e-5)
    np.testing.assert_allclose(two[1], two[0][::-1], rtol=1e-5)
