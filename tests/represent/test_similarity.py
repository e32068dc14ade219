import numpy as np
import pytest

from armillary.represent import effective_rank, linear_cka


def test_cka_against_centred_kernels():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 5)), rng.normal(size=(30, 8))
    h = np.eye(30) - 1 / 30
    k, m = h @ a @ a.T @ h, h @ b @ b.T @ h
    expected = (k * m).sum() / (np.linalg.norm(k) * np.linalg.norm(m))
    np.testing.assert_allclose(linear_cka(a, b), expected, rtol=1e-4)


def test_cka_does_not_see_rotation_scale_or_shift():
    rng = np.random.default_rng(1)
    a = rng.normal(size=(40, 6))
    q = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    assert float(linear_cka(a, 3 * a @ q + 2)) == pytest.approx(1, abs=1e-5)
    assert float(linear_cka(a, rng.normal(size=(40, 6)))) < 0.6


def test_effective_rank_counts_equal_dimensions():
    rng = np.random.default_rng(2)
    q = np.linalg.qr(rng.normal(size=(50, 7)) - 0)[0]
    q = q - q.mean(0)
    q = np.linalg.qr(q)[0]  # seven orthonormal columns of mean 0
    assert float(effective_rank(q)) == pytest.approx(7, rel=1e-3)
    assert float(effective_rank(q * [1, 0, 0, 0, 0, 0, 0])) == pytest.approx(1, abs=1e-3)
    values = np.linalg.svd(q * np.arange(1, 8), compute_uv=False)
    share = values / values.sum()
    assert float(effective_rank(q * np.arange(1, 8))) == pytest.approx(
        np.exp(-(share * np.log(share)).sum()), rel=1e-3
    )
