import jax
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from armillary.measure import class_scatter


def test_within_is_scikit_learns_and_both_add_up():
    labels = np.repeat(np.arange(3), 20)
    x = jax.random.normal(jax.random.key(0), (60, 4)) + labels[:, None] * np.arange(4)
    scatter = class_scatter(x, labels, 3)
    expected = LinearDiscriminantAnalysis(store_covariance=True).fit(x, labels).covariance_
    np.testing.assert_allclose(scatter.within, expected, atol=1e-4)
    np.testing.assert_allclose(scatter.within + scatter.between, np.cov(x.T, bias=True), atol=1e-4)
    np.testing.assert_allclose(scatter.ratio, np.trace(scatter.within) / np.trace(scatter.between), rtol=1e-5)
