import numpy as np
import pytest

from armillary.measure.neural_collapse import neural_collapse


def simplex(classes, width, seed=0):
    q = np.linalg.qr(np.random.default_rng(seed).normal(size=(width, classes)))[0].T
    return (np.eye(classes) - 1 / classes) @ q


def test_full_collapse_is_zero():
    means = simplex(4, 9).astype(np.float32)
    labels = np.repeat(np.arange(4), 5)
    features = 3 * means[labels] + 7
    got = neural_collapse(features, labels, 2 * means, (features - 7) @ means.T)
    np.testing.assert_allclose(got, 0, atol=2e-3)


def test_against_the_definitions_written_out():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 3, 60)
    features = rng.normal(size=(60, 7)) + 2 * np.eye(3, 7)[labels]
    weights, outputs = rng.normal(size=(3, 7)), rng.normal(size=(60, 3))
    means = np.stack([features[labels == c].mean(0) for c in range(3)])
    centre = means.mean(0)
    within = np.mean([np.outer(f - means[c], f - means[c]) for f, c in zip(features, labels)], axis=0)
    between = np.mean([np.outer(m - centre, m - centre) for m in means], axis=0)
    spread = means - centre
    nc1 = np.trace(within @ np.linalg.pinv(between, rcond=1e-9)) / 3
    gram = spread @ spread.T
    nc2 = np.linalg.norm(gram / np.linalg.norm(gram) - (np.eye(3) - 1 / 3) / 2**0.5)
    nc3 = np.linalg.norm(weights / np.linalg.norm(weights) - spread / np.linalg.norm(spread))
    nearest = [np.argmin([np.linalg.norm(f - m) for m in means]) for f in features]
    nc4 = np.mean(np.array(nearest) != outputs.argmax(1))
    got = neural_collapse(features.astype(np.float32), labels, weights.astype(np.float32), outputs)
    np.testing.assert_allclose(got, [nc1, nc2, nc3, nc4], rtol=1e-3)


def test_spread_within_classes_only_moves_nc1():
    rng = np.random.default_rng(2)
    means = simplex(5, 20)
    labels = np.repeat(np.arange(5), 40)
    noise = rng.normal(size=(200, 20))
    for c in range(5):
        noise[labels == c] -= noise[labels == c].mean(0)
    small, large = (
        neural_collapse((means[labels] + s * noise).astype(np.float32), labels) for s in (0.1, 0.2)
    )
    assert float(large.nc1 / small.nc1) == pytest.approx(4, rel=1e-2)
    assert float(large.nc2) == pytest.approx(float(small.nc2), abs=1e-3)
    assert large.nc3 is None
    assert large.nc4 is None
