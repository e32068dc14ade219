import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from armillary.data import xor_clusters


def test_moments_labels_and_flips():
    x, y, flipped = xor_clusters(jax.random.key(0), 4000, 5, mean=6.0, flip=0.25)
    assert flipped.sum() == 1000
    clean = np.where(flipped, -y, y)
    # The axis that stands out tells the label, and both of its sides occur equally often.
    np.testing.assert_array_equal(clean, np.where(abs(x[:, 0]) > abs(x[:, 1]), 1, -1))
    for axis, label in ((0, 1), (1, -1)):
        side = x[clean == label, axis]
        assert abs((side > 0).mean() - 0.5) < 0.05
        assert abs(abs(side).mean() - 6) < 0.1
    np.testing.assert_allclose(jnp.cov(x.T)[2:, 2:], np.eye(3), atol=0.1)
    assert abs((clean > 0).mean() - 0.5) < 0.05


def test_no_linear_classifier_but_a_quadratic_one():
    x, y, _ = xor_clusters(jax.random.key(1), 1000, 4, mean=4.0)
    assert LogisticRegression().fit(x, y).score(x, y) < 0.62
    assert SVC(kernel="poly", degree=2).fit(x, y).score(x, y) > 0.98
