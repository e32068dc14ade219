import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.nn import end_to_end, orthogonal


def test_end_to_end_is_the_product_however_the_layers_are_stacked():
    w = [np.random.default_rng(i).normal(size=(3, 3)) for i in range(4)]
    last = np.random.default_rng(9).normal(size=(2, 3))
    expected = last @ w[3] @ w[2] @ w[1] @ w[0]
    a = [jnp.asarray(m) for m in w]
    for layers in (
        (*a, jnp.asarray(last)),
        (jnp.stack(a), jnp.asarray(last)),
        (a[0], jnp.stack(a[1:]), jnp.asarray(last)),
    ):
        np.testing.assert_allclose(end_to_end(layers), expected, rtol=1e-4)
    np.testing.assert_allclose(end_to_end((jnp.stack(a),)), w[3] @ w[2] @ w[1] @ w[0], rtol=1e-4)


@pytest.mark.parametrize(("rows", "columns"), [(5, 5), (3, 7), (7, 3)])
def test_orthogonal_is_orthonormal_and_the_same_under_vmap(rows, columns):
    keys = jax.random.split(jax.random.key(0), 4)
    many = jax.vmap(lambda k: orthogonal(k, rows, columns))(keys)
    assert many.shape == (4, rows, columns)
    for key, q in zip(keys, many):
        np.testing.assert_allclose(q, orthogonal(key, rows, columns), atol=1e-6)
        gram = q.T @ q if rows >= columns else q @ q.T
        np.testing.assert_allclose(gram, np.eye(min(rows, columns)), atol=1e-5)


def test_orthogonal_is_uniform():
    # Haar: the trace of a 3 × 3 orthogonal matrix has mean 0 and variance 1, and half have determinant -1.
    q = jax.vmap(lambda k: orthogonal(k, 3, 3))(jax.random.split(jax.random.key(1), 4000))
    trace = jnp.trace(q, axis1=1, axis2=2)
    assert abs(trace.mean()) < 0.06
    assert abs(trace.var() - 1) < 0.08
    assert abs((jnp.linalg.det(q) > 0).mean() - 0.5) < 0.03
