import jax
import jax.numpy as jnp
import numpy as np

from armillary.measure.kernels import centred, empirical_ntk, kernel_alignment
from armillary.nn import MLP


def test_ntk_entry_by_entry():
    net = MLP((3, 6, 2), jax.random.key(0), activation=jnp.tanh)
    x = jax.random.normal(jax.random.key(1), (4, 3))
    rows = {}
    for i in range(4):
        for c in range(2):
            grad = jax.grad(lambda n, i=i, c=c: n(x[i])[c])(net)
            rows[i, c] = np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(grad)])
    expected = [[sum(rows[i, c] @ rows[j, c] for c in range(2)) for j in range(4)] for i in range(4)]
    np.testing.assert_allclose(empirical_ntk(lambda n, x: n(x), net, x), expected, rtol=1e-5)


def test_ntk_of_a_linear_model_is_its_inputs_gram_matrix():
    net = MLP((3, 1), jax.random.key(0), bias=False)
    x = jax.random.normal(jax.random.key(1), (5, 3))
    np.testing.assert_allclose(empirical_ntk(lambda n, x: n(x), net, x), x @ x.T, rtol=1e-5)


def test_alignment():
    a = np.random.default_rng(0).normal(size=(6, 6))
    a = a @ a.T
    assert np.isclose(kernel_alignment(a, 3 * a), 1, atol=1e-6)
    y = np.array([1.0, 1, 1, -1, -1, -1])
    np.testing.assert_allclose(
        kernel_alignment(a, np.outer(y, y)), y @ a @ y / (6 * np.linalg.norm(a)), rtol=1e-6
    )
    # Centring takes out what all examples share.
    np.testing.assert_allclose(kernel_alignment(a + 50, a, centre=True), 1, rtol=1e-4)
    h = np.eye(6) - 1 / 6
    np.testing.assert_allclose(centred(jnp.asarray(a)), h @ a @ h, atol=1e-5)
