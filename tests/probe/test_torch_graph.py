"""PyTorch modules said again in JAX: the same numbers, and symmetries that leave the module's function alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch import nn

from armillary.merge import permutation_symmetry, permute, random_permutations
from armillary.probe.torch_graph import UnknownOperation, as_jax


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(11, 16)
        self.norm = nn.LayerNorm(16)
        self.mlp = nn.Sequential(nn.Linear(16, 12), nn.GELU(), nn.Linear(12, 16))
        self.out = nn.Linear(16, 5)

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.out((x + self.mlp(self.norm(x))).mean(1))


def cnn():
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 8, 3), nn.SiLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3),
    )  # fmt: skip


MODELS = {
    "mlp": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)),
        torch.randn(3, 4),
    ),
    "cnn": (cnn, torch.randn(2, 1, 8, 8)),
    "residual": (Residual, torch.randint(0, 11, (2, 7))),
}


@pytest.mark.parametrize("name", MODELS)
def test_same_numbers_and_harmless_permutations(name):
    make, x = MODELS[name]
    torch.manual_seed(0)
    model = make().eval()
    named = dict(model.named_parameters())
    function = as_jax(lambda p: torch.func.functional_call(model, p, x), named)
    arrays = {n: jnp.asarray(p.detach().numpy()) for n, p in named.items()}
    expected = model(x).detach().numpy()
    np.testing.assert_allclose(function(arrays), expected, atol=1e-5)
    symmetry = permutation_symmetry(lambda p, _: function(p), arrays, jnp.zeros(1))
    assert symmetry.sizes
    moved = permute(symmetry, arrays, random_permutations(symmetry, jax.random.key(0)))
    assert any(not np.array_equal(moved[n], arrays[n]) for n in arrays)
    state = {n: torch.from_numpy(np.array(v)) for n, v in moved.items()}
    np.testing.assert_allclose(
        torch.func.functional_call(model, state, x).detach().numpy(), expected, atol=1e-5
    )


def test_an_operation_outside_the_table_is_named():
    model, x = nn.Linear(3, 3), torch.ones(2, 3)
    sort = lambda p: torch.sort(torch.func.functional_call(model, p, x))[0]
    with pytest.raises(UnknownOperation, match="sort"):
        as_jax(sort, dict(model.named_parameters()))
