import jax
import numpy as np
import pytest

from armillary.data import multi_feature_bits


def test_labels_by_counting():
    x, y = multi_feature_bits(jax.random.key(0), 2000, ("majority", "parity"), bits=11, arity=5)
    ones = lambda columns: np.sum(np.asarray(x)[:, columns] == 1, 1)
    np.testing.assert_array_equal(y[:, 0], ones(slice(0, 5)) >= 3)
    np.testing.assert_array_equal(y[:, 1], ones(slice(5, 10)) % 2 == 1)
    assert set(np.unique(x)) == {-1.0, 1.0}
    assert np.corrcoef(np.asarray(y).T)[0, 1] == pytest.approx(0, abs=0.08)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rules": ("odd",)}, "'odd' is neither"),
        ({"rules": ("parity",) * 4, "bits": 11}, "bits=11 is too few for 4 rules of 3"),
        ({"rules": ("parity",), "arity": 2}, "arity=2 must be odd"),
    ],
)
def test_errors(given, message):
    with pytest.raises(ValueError, match=message):
        multi_feature_bits(jax.random.key(0), 4, **given)
