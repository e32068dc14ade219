import numpy as np
import pytest
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

from armillary.data import table


@pytest.mark.parametrize("name", ["iris", "wine", "breast_cancer", "diabetes"])
def test_columns_are_standardized(name):
    x, y = table(name)
    raw, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    np.testing.assert_allclose(x, StandardScaler().fit_transform(raw), atol=1e-5)
    if name == "diabetes":
        np.testing.assert_allclose(y, StandardScaler().fit_transform(target[:, None])[:, 0], atol=1e-5)
    else:
        np.testing.assert_array_equal(y, target)


def test_an_unknown_table_is_named():
    with pytest.raises(ValueError, match="no table 'boston'"):
        table("boston")
