"""Kernel ridge regression against scikit-learn's."""

import jax
import numpy as np
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from armillary.train import kernel_ridge


def test_it_is_scikit_learns():
    x, queries = (np.asarray(jax.random.normal(jax.random.key(i), (n, 3))) for i, n in enumerate((40, 7)))
    y = np.asarray(jax.random.normal(jax.random.key(2), (40, 2)))
    gram, cross = 2 * rbf_kernel(x, x, 0.3), 2 * rbf_kernel(queries, x, 0.3)
    wanted = KernelRidge(alpha=0.1, kernel="precomputed").fit(gram, y).predict(cross)
    # its alpha is λ itself, ours a share of the diagonal's mean, which is 2 here
    np.testing.assert_allclose(kernel_ridge(gram, y, cross, ridge=0.05), wanted, atol=1e-4)
    np.testing.assert_allclose(kernel_ridge(gram, y[:, 0], cross, ridge=0.05), wanted[:, 0], atol=1e-4)
