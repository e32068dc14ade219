import numpy as np

from armillary.measure import alternation, most_swinging


def test_most_swinging_by_sorting():
    losses = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    expected = np.argsort(-abs(np.diff(losses, axis=0)), axis=1)[:, :3]
    np.testing.assert_array_equal(most_swinging(losses, 3), expected)


def test_alternation_sees_opposition_under_a_common_trend():
    steps = np.arange(200)
    swing = (-1.0) ** steps * np.random.default_rng(0).uniform(1, 2, 200)
    trend = 50 * np.exp(-steps / 60)
    assert np.corrcoef(trend + swing, trend - swing)[0, 1] > 0.9
    assert alternation(trend + swing, trend - swing) < -0.9
    assert alternation(trend + swing, swing) > 0.9


def test_alternation_of_unrelated_series():
    first, second = np.random.default_rng(1).normal(size=(2, 4000))
    assert abs(alternation(first, second)) < 0.06
