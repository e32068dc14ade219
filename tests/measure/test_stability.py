import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import batch_noise, mean_square_stability


@pytest.fixture(scope="module")
def gradients():
    return np.asarray(jax.random.normal(jax.random.key(0), (5, 7)) * jnp.array([3.0, 1, 1, 1, 0.3, 0.3, 0.1]))


def radius(gradients, batch_size, rate):
    """The spectral radius of E[M ⊗ M] on the gradients' span, every batch enumerated."""
    basis = np.linalg.qr(gradients.T)[0]
    a = (gradients @ basis).astype(float)
    total, batches = 0, list(itertools.combinations(range(len(a)), batch_size))
    for batch in map(list, batches):
        step = np.eye(len(a)) - rate / batch_size * a[batch].T @ a[batch]
        total = total + np.kron(step, step) / len(batches)
    return abs(np.linalg.eigvals(total)).max()


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_the_limit_is_where_the_enumerated_second_moment_begins_to_grow(gradients, batch_size):
    found = mean_square_stability(gradients, batch_size)
    assert radius(gradients, batch_size, float(found.limit)) == pytest.approx(1, abs=1e-4)
    assert radius(gradients, batch_size, 1.02 * float(found.limit)) > 1.001
    assert radius(gradients, batch_size, 0.98 * float(found.limit)) < 0.9999
    assert found.residual < 1e-3
    assert found.limit <= found.trace_bound * 1.0001


def test_sizes_and_bounds(gradients):
    h = gradients.T @ gradients / len(gradients)
    found = mean_square_stability(gradients, 2)
    np.testing.assert_allclose(found.trace, np.trace(h), rtol=1e-5)
    np.testing.assert_allclose(found.frobenius, np.linalg.norm(h), rtol=1e-5)
    np.testing.assert_allclose(found.largest, np.linalg.eigvalsh(h)[-1], rtol=1e-5)
    p = 3 / 8
    bound = 2 / ((1 - p) * np.linalg.norm(h) ** 2 / np.trace(h) + p * np.trace(h))
    np.testing.assert_allclose(found.trace_bound, bound, rtol=1e-5)
    full = mean_square_stability(gradients, 5)
    np.testing.assert_allclose(full.limit, full.descent_limit, rtol=1e-4)


def test_orthogonal_gradients_of_equal_length_meet_the_trace_bound():
    # Each direction is touched by one example only: (1 - ηs)² ≤ 1, and s = tr H.
    found = mean_square_stability(2 * jnp.eye(6), 1)
    np.testing.assert_allclose([found.limit, found.trace_bound], 0.5, rtol=1e-5)


def test_batch_size_may_be_traced_and_more_parameters_cost_nothing(gradients):
    wide = jnp.pad(gradients, ((0, 0), (0, 100)))
    limits = jax.jit(jax.vmap(lambda b: mean_square_stability(wide, b).limit))(jnp.array([1.0, 2.0, 5.0]))
    apart = [mean_square_stability(gradients, b).limit for b in (1, 2, 5)]
    np.testing.assert_allclose(limits, apart, rtol=1e-4)
    assert limits[0] < limits[1] < limits[2]


def test_batch_noise_ends():
    assert batch_noise(10, 1) == 1
    assert batch_noise(10, 10) == 0
