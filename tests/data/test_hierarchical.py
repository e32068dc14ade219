"""Hierarchical polynomials against NumPy's Hermite series, quadrature and sums over many directions."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import hermite_e
from sklearn.kernel_ridge import KernelRidge

from armillary.data import hermite, hierarchical_polynomial, optimal_kernel
from armillary.train import kernel_ridge


def test_hermite_is_numpys_and_orthonormal():
    z, weight = hermite_e.hermegauss(20)
    weight = weight / weight.sum()
    for k in range(6):
        ours = np.asarray(hermite(k, jnp.array(z)))
        theirs = hermite_e.hermeval(z, [0] * k + [1]) / np.sqrt(float(np.prod(range(1, k + 1))))
        np.testing.assert_allclose(ours, theirs, rtol=2e-5, atol=2e-5)
        for j in range(k + 1):
            product = (weight * ours * np.asarray(hermite(j, jnp.array(z)))).sum()
            np.testing.assert_allclose(product, float(j == k), atol=2e-4)


def test_a_quadratic_one_is_the_quadratic_form():
    h = hierarchical_polynomial(jax.random.key(0), 6, outer=(0.5, 0.6, 0.8))
    q = np.asarray(h.directions, float)
    np.testing.assert_allclose(q.T @ q, np.eye(6), atol=1e-6)
    matrix = q @ np.diag([1, 1, 1, -1, -1, -1]) @ q.T / np.sqrt(12)
    x = np.asarray(jax.random.normal(jax.random.key(1), (10, 6)), float)
    p = np.einsum("ni,ij,nj->n", x, matrix, x)
    np.testing.assert_allclose(h.inner(x), p, atol=1e-5)
    np.testing.assert_allclose(h(x), 0.5 + 0.6 * p + 0.8 * (p**2 - 1) / np.sqrt(2), atol=1e-5)
    # mean 0, variance 2 |A|² = 1
    np.testing.assert_allclose([np.trace(matrix), 2 * (matrix**2).sum()], [0, 1], atol=1e-6)


def test_the_cubic_one_has_variance_one():
    h = hierarchical_polynomial(jax.random.key(0), 4, degree=3)
    z, weight = hermite_e.hermegauss(8)
    grid = np.array(list(itertools.product(z, repeat=4)))
    weights = np.prod(np.array(list(itertools.product(weight / weight.sum(), repeat=4))), 1)
    p = np.asarray(h.inner(jnp.array(grid)), float)
    np.testing.assert_allclose([weights @ p, weights @ p**2], [0, 1], atol=1e-4)


def test_an_odd_dimension_is_refused():
    with pytest.raises(ValueError, match="dim=7"):
        hierarchical_polynomial(jax.random.key(0), 7)


def test_the_kernel_is_the_mean_over_directions():
    outer = (0.3, 0.6, 0.8)
    x, z = (jax.random.normal(jax.random.key(i), (n, 6)) for i, n in enumerate((4, 3)))

    def product(key):
        h = hierarchical_polynomial(key, 6, outer=outer)
        return h(x)[:, None] * h(z)

    drawn = np.asarray(jax.jit(jax.vmap(product))(jax.random.split(jax.random.key(2), 100_000)), float)
    error = (drawn.mean(0) - optimal_kernel(x, z, outer)) / (drawn.std(0) / len(drawn) ** 0.5)
    assert abs(error).max() < 4  # 12 numbers, in standard errors
    assert (drawn.std(0) > 0.1).all()


def test_no_other_kernel_beats_it():
    outer, n, d = (0.0, 0.5**0.5, 0.5**0.5), 300, 10

    def ours(key):
        k_h, k_x = jax.random.split(key)
        h = hierarchical_polynomial(k_h, d, outer=outer)
        x = jax.random.normal(k_x, (n + 500, d))
        gram, cross = (optimal_kernel(a, x[:n], outer) for a in (x[:n], x[n:]))
        guess = kernel_ridge(gram, h(x[:n]), cross, ridge=1e-4)
        return x, h(x), jnp.mean((guess - h(x[n:])) ** 2)

    x, y, error = (np.asarray(a) for a in jax.jit(jax.vmap(ours))(jax.random.split(jax.random.key(0), 6)))
    for kernel in ({"kernel": "rbf", "gamma": 0.5 / d}, {"kernel": "poly", "degree": 4, "gamma": 1 / d}):
        for alpha in (1e-3, 0.1, 1.0):
            other = [
                ((KernelRidge(alpha=alpha, **kernel).fit(a[:n], b[:n]).predict(a[n:]) - b[n:]) ** 2).mean()
                for a, b in zip(x, y)
            ]
            assert np.mean(error) < np.mean(other)
