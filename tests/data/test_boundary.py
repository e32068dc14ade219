import jax
import numpy as np
import pytest
from scipy import stats

from armillary.data import boundary_perceptron


@pytest.mark.parametrize(("chi", "gap"), [(0.0, 0.0), (2.0, 0.3), (-0.5, 0.0)])
def test_distances_are_chi_distributed(chi, gap):
    x, y = boundary_perceptron(jax.random.key(1), 4000, 3, chi, gap=gap)
    np.testing.assert_array_equal(np.sign(x[:, 0]), y)
    assert stats.kstest(abs(np.asarray(x[:, 0])) - gap, stats.chi(chi + 1).cdf).pvalue > 0.01
    assert stats.kstest(np.asarray(x[:, 1]), stats.norm.cdf).pvalue > 0.01
    assert abs(y.mean()) < 0.06
