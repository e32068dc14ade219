"""Kernel ridge regression against scikit-learn's."""

import jax
import numpy as np
import pytest
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from sklearn.metrics.pairwise import rbf_kernel

from armillary.train import kernel_ridge, ridge_learning_curve


def test_it_is_scikit_learns():
    x, queries = (np.asarray(jax.random.normal(jax.random.key(i), (n, 3))) for i, n in enumerate((40, 7)))
    y = np.asarray(jax.random.normal(jax.random.key(2), (40, 2)))
    gram, cross = 2 * rbf_kernel(x, x, 0.3), 2 * rbf_kernel(queries, x, 0.3)
    wanted = KernelRidge(alpha=0.1, kernel="precomputed").fit(gram, y).predict(cross)
    # its alpha is λ itself, ours a share of the diagonal's mean, which is 2 here
    np.testing.assert_allclose(kernel_ridge(gram, y, cross, ridge=0.05), wanted, atol=1e-4)
    np.testing.assert_allclose(kernel_ridge(gram, y[:, 0], cross, ridge=0.05), wanted[:, 0], atol=1e-4)


def test_a_stack_of_them_and_its_gradient():
    x, queries = (np.asarray(jax.random.normal(jax.random.key(i), (n, 3))) for i, n in enumerate((12, 5)))
    y = np.asarray(jax.random.normal(jax.random.key(2), (4, 12)))
    gram, cross = rbf_kernel(x, x, 0.3), rbf_kernel(queries, x, 0.3)
    scaled = lambda scale, y: kernel_ridge(scale * gram, y, scale * cross, ridge=0.05)
    apart = np.stack([scaled(1.0, one) for one in y])
    np.testing.assert_allclose(jax.vmap(scaled, (None, 0))(1.0, y), apart, atol=1e-5)
    # λ is a share of the diagonal, so that the kernel's scale does not matter
    slope = jax.vmap(jax.grad(lambda s, y: scaled(s, y).sum()), (None, 0))(1.0, y)
    np.testing.assert_allclose(slope, 0, atol=1e-4)
    by_hand = jax.grad(lambda y: scaled(1.0, y).sum())(y[0])
    system = gram + 0.05 * np.eye(12)
    np.testing.assert_allclose(by_hand, np.linalg.solve(system, cross.sum(0)), atol=1e-4)


def test_the_learning_curve_is_scikit_learns():
    features = np.asarray(jax.random.normal(jax.random.key(3), (90, 20))) + 1
    noise, slope = (
        np.asarray(jax.random.normal(jax.random.key(i), s)) for i, s in ((4, (90, 2)), (5, (20, 2)))
    )
    y = features @ slope + 3 * noise + 5
    ridges = (1e-3, 1e-1, 10.0)
    found = ridge_learning_curve(features, y, (15, 40), validation=20, ridges=ridges)
    for n, errors in zip((15, 40), found):
        scale = features[:n].var(0).sum()  # the mean diagonal of the centred kernel
        models = [Ridge(alpha=r * scale).fit(features[:n], y[:n]) for r in ridges]
        squares = np.stack([(m.predict(features[40:]) - y[40:]) ** 2 for m in models])
        for t, error in enumerate(errors):
            best = squares[:, :20, t].mean(1).argmin()
            np.testing.assert_allclose(error, squares[best, 20:, t].mean() / y[60:, t].var(), rtol=1e-3)
    with pytest.raises(ValueError, match="leave none for the test"):
        ridge_learning_curve(features, y, (40,), validation=50)
