import numpy as np

from armillary.train import lr_sensitivity


def test_sensitivity_is_the_mean_loss_above_the_best():
    losses = np.array([[2.0, 1.0, 3.0], [1.0, 9.0, np.nan]])
    # losses above the start (5) count as the start; so does a loss that is no number
    np.testing.assert_allclose(lr_sensitivity(losses, 5.0), [(1 + 0 + 2) / 3, (0 + 4 + 4) / 3], rtol=1e-6)
    np.testing.assert_allclose(lr_sensitivity(losses, np.array([2.5, 5.0])), [2.5 / 3, 8 / 3], rtol=1e-6)
