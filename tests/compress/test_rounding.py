import numpy as np
import pytest
import torch

from armillary.compress import round_symmetric


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_against_pytorch_s_fake_quantization(bits):
    w = np.random.default_rng(0).normal(size=(20, 30)).astype(np.float32)
    levels = 2 ** (bits - 1) - 1
    scale = float(np.abs(w).max() / levels)
    expected = torch.fake_quantize_per_tensor_affine(torch.from_numpy(w), scale, 0, -levels, levels).numpy()
    got = np.asarray(round_symmetric(w, bits))
    np.testing.assert_allclose(got, expected, atol=1e-6)
    assert len(np.unique(np.round(got / scale))) <= 2**bits - 1
    assert np.abs(got - w).max() <= scale / 2 + 1e-6


def test_zeros_stay_and_one_bit_is_refused():
    assert not np.asarray(round_symmetric(np.zeros((2, 2), np.float32), 4)).any()
    with pytest.raises(ValueError, match="bits=1"):
        round_symmetric(np.ones(2), 1)
