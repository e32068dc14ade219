from itertools import combinations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import (
    example_overlap,
    m_coherence,
    m_coherence_streamed,
    m_coherence_two_batches,
    per_example_gradients,
)


def gradients(m=7, seed=0, shared=0.5):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, 11)) + shared * rng.normal(size=11)


def tree(matrix):
    return {"w": jnp.array(matrix[:, :6]).reshape(-1, 2, 3), "b": jnp.array(matrix[:, 6:]), "fixed": None}


@pytest.mark.parametrize(
    ("matrix", "want"), [(np.ones((5, 3)), 5), (np.eye(5), 1), (np.array([[1.0], [-1]]), 0)]
)
def test_the_three_cases_of_the_paper(matrix, want):
    np.testing.assert_allclose(m_coherence(jnp.array(matrix)), want, rtol=1e-6, atol=1e-6)


def test_coherence_is_the_mean_help_of_an_example_to_all():
    g = gradients()
    gram = g @ g.T
    np.testing.assert_allclose(m_coherence(tree(g)), gram.sum() / np.trace(gram), rtol=1e-5)
    np.testing.assert_allclose(m_coherence(tree(100 * g)), m_coherence(tree(g)), rtol=1e-5)


@pytest.mark.parametrize("micro", [1, 3, 4, 7, 9])
def test_streamed_over_micro_batches_is_the_same(micro):
    x = jax.random.normal(jax.random.key(0), (7, 3))
    params = {"w": jnp.arange(3.0), "b": jnp.array(0.5), "fixed": 3}
    loss = lambda p, batch: jnp.mean(jnp.tanh(batch @ p["w"] + p["b"]) ** 2)
    found = m_coherence_streamed(loss, params, x, micro=micro)
    np.testing.assert_allclose(found, m_coherence(per_example_gradients(loss, params, x)), rtol=1e-5)


def test_two_batches_enumerated_over_all_pairs_of_batches():
    # Numerator and denominator are unbiased: pairs weighted by their denominators average to the exact ratio.
    g = gradients(m=6)
    squared = (g**2).sum(1)
    top = bottom = 0.0
    for first in combinations(range(6), 2):
        for second in combinations(sorted(set(range(6)) - set(first)), 3):
            estimate = float(m_coherence_two_batches(tree(g[list(first)]), tree(g[list(second)]), 6))
            weight = squared[[*first, *second]].mean()
            top, bottom = top + estimate * weight, bottom + weight
    np.testing.assert_allclose(top / bottom, m_coherence(tree(g)), rtol=1e-5)


def test_overlap_is_the_cosine_with_the_sum_of_the_others():
    g = gradients()
    want = []
    for i in range(len(g)):
        rest = np.delete(g, i, 0).sum(0)
        want.append(g[i] @ rest / np.linalg.norm(g[i]) / np.linalg.norm(rest))
    np.testing.assert_allclose(example_overlap(tree(g)), want, rtol=1e-4, atol=1e-5)


def test_overlap_finds_the_example_that_points_the_other_way():
    g = np.r_[np.ones((9, 4)), -np.ones((1, 4))]
    np.testing.assert_allclose(example_overlap(jnp.array(g)), [1] * 9 + [-1], atol=1e-5)
    assert example_overlap(jnp.array(np.r_[g, np.zeros((1, 4))]))[-1] == 0
