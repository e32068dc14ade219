import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from armillary.measure import frobenius_norm, hutchinson_trace, hutchpp_trace

ESTIMATORS = [hutchinson_trace, hutchpp_trace, frobenius_norm]


def matrix(decay, size=120, seed=0):
    """A symmetric matrix with eigenvalues i^-decay in a random basis."""
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]
    return (q * np.arange(1, size + 1) ** -float(decay)) @ q.T


def operator(array):
    return lx.MatrixLinearOperator(jnp.asarray(array, jnp.float32), lx.symmetric_tag)


@pytest.mark.parametrize("estimate", ESTIMATORS)
def test_unbiased_with_the_stated_standard_error(estimate):
    a = matrix(0.5)
    truth = np.linalg.norm(a) if estimate is frobenius_norm else np.trace(a)
    keys = jax.random.split(jax.random.key(0), 300)
    values, errors = jax.jit(jax.vmap(lambda k: estimate(operator(a), key=k, probes=48)))(keys)
    assert abs(values.mean() - truth) < 4 * values.std() / 300**0.5 + 1e-3 * truth
    np.testing.assert_allclose(np.sqrt((errors**2).mean()), values.std(), rtol=0.2)


def test_hutchinson_variance_is_hutchinsons():
    a = matrix(0.5)
    keys = jax.random.split(jax.random.key(1), 500)
    values, _ = jax.jit(jax.vmap(lambda k: hutchinson_trace(operator(a), key=k, probes=4)))(keys)
    off = a - np.diag(np.diag(a))
    np.testing.assert_allclose(values.var(), 2 * (off**2).sum() / 4, rtol=0.25)


def test_hutchinson_is_exact_on_a_diagonal():
    got = hutchinson_trace(
        lx.DiagonalLinearOperator(jnp.array([1.0, -2.0, 5.0])), key=jax.random.key(0), probes=2
    )
    np.testing.assert_allclose(got.value, 4, rtol=1e-6)
    np.testing.assert_allclose(got.error, 0, atol=1e-6)


def test_hutchpp_is_exact_at_low_rank_and_beats_hutchinson_on_fast_decay():
    low = np.random.default_rng(3).normal(size=(120, 5))
    got = hutchpp_trace(operator(low @ low.T), key=jax.random.key(0), probes=30)
    np.testing.assert_allclose(got.value, np.trace(low @ low.T), rtol=1e-4)
    a = matrix(2)
    keys = jax.random.split(jax.random.key(1), 100)
    spread = {
        f: jax.jit(jax.vmap(lambda k, f=f: f(operator(a), key=k, probes=48).value))(keys).std()
        for f in (hutchinson_trace, hutchpp_trace)
    }
    assert spread[hutchpp_trace] < spread[hutchinson_trace] / 5


def test_frobenius_norm_of_an_orthogonal_matrix_is_exact():
    q = np.linalg.qr(np.random.default_rng(0).normal(size=(9, 9)))[0]
    got = frobenius_norm(operator(q), key=jax.random.key(0), probes=3)
    np.testing.assert_allclose(got.value, 3, rtol=1e-5)
    assert frobenius_norm(operator(np.zeros((4, 4))), key=jax.random.key(0)).value == 0
