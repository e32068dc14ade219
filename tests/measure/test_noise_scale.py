import numpy as np
import pytest

from armillary.measure import example_overlap, m_coherence
from armillary.measure.noise_scale import (
    gaussian_share,
    gradient_noise,
    opposing_groups,
    overlap_from_sums,
)


def gradients(m=400, size=30, seed=0, signal=0.5):
    rng = np.random.default_rng(seed)
    return signal * rng.normal(size=size) / size**0.5 + rng.normal(size=(m, size)) * np.linspace(0.5, 2, size)


def sums(g):
    mean = g.mean(0)
    return (g**2).sum(1), g @ mean, mean @ mean


def test_against_sums_over_pairs():
    """tr Σ and ‖G‖² by brute force: U-statistics over all pairs of different examples."""
    g = gradients(m=60)
    gram = g @ g.T
    pairs = ~np.eye(60, dtype=bool)
    signal = gram[pairs].mean()
    noise = np.diag(gram).mean() - signal
    found = gradient_noise(*sums(g))
    if signal > 0:
        np.testing.assert_allclose(found.scale.value, noise / signal)
        np.testing.assert_allclose(found.norm.value, signal**0.5)
    np.testing.assert_allclose(found.coherence.value, m_coherence(g), rtol=1e-5)


def test_scale_is_the_true_one_within_its_error():
    size = 30
    mean = 3 * np.random.default_rng(9).normal(size=size) / size**0.5
    spread = np.linspace(0.5, 2, size)
    truth = (spread**2).sum() / (mean @ mean)
    values, errors = [], []
    for seed in range(200):
        g = mean + np.random.default_rng(seed).normal(size=(400, size)) * spread
        found = gradient_noise(*sums(g)).scale
        values.append(found.value)
        errors.append(found.error)
    assert abs(np.mean(values) - truth) < 0.05 * truth
    np.testing.assert_allclose(np.mean(errors), np.std(values), rtol=0.2)


def test_jackknife_errors_are_those_of_really_leaving_examples_out():
    g = gradients(m=40, signal=3.0)
    found = gradient_noise(*sums(g))
    one_less = np.array([gradient_noise(*sums(np.delete(g, i, 0))).scale.value for i in range(40)])
    expected = (39 / 40 * ((one_less - one_less.mean()) ** 2).sum()) ** 0.5
    np.testing.assert_allclose(found.scale.error, expected)


def test_overlap_without_the_gradients():
    g = gradients(m=25)
    np.testing.assert_allclose(overlap_from_sums(*sums(g)), example_overlap(g), atol=1e-5)
    assert overlap_from_sums(np.zeros(3), np.zeros(3), 0.0).tolist() == [0, 0, 0]


def test_no_scale_where_gradients_cancel():
    g = np.random.default_rng(0).normal(size=(10, 50))
    g = np.concatenate([g, -g])
    found = gradient_noise(*sums(g))
    assert found.scale.value == np.inf
    assert found.norm.value == 0
    with pytest.raises(ValueError, match="2 examples"):
        gradient_noise(np.ones(2), np.ones(2), 1.0)


def test_planted_groups_are_found():
    slopes = np.random.default_rng(0).normal(size=100)
    slopes[[3, 50]] = [40.0, 30.0]
    slopes[[7, 8]] = [-35.0, -20.0]
    found = opposing_groups(slopes, 2)
    assert found.up.tolist() == [3, 50]
    assert found.down.tolist() == [7, 8]
    assert found.share > 0.95
    assert opposing_groups(np.ones(4), 2).down.size == 0


def test_gaussian_share_is_that_of_normal_numbers():
    z = np.sort(np.random.default_rng(0).normal(size=400_000) ** 2)[::-1]
    np.testing.assert_allclose(gaussian_share(0.05), z[:20_000].sum() / z.sum(), rtol=0.01)
