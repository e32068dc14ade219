import jax
import numpy as np
import pytest
import torch
from torch.nn.utils import prune

from armillary.compress import global_magnitude_mask


def params(seed=0):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {"a": jax.random.normal(keys[0], (4, 5)), "b": 0.1 * jax.random.normal(keys[1], (7, 3))}


@pytest.mark.parametrize("sparsity", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_the_same_mask_as_pytorch_s_global_unstructured_pruning(sparsity):
    tree = params()
    modules = {name: torch.nn.Linear(*leaf.shape[::-1], bias=False) for name, leaf in tree.items()}
    for name, module in modules.items():
        module.weight.data = torch.from_numpy(np.array(tree[name]))
    total = sum(leaf.size for leaf in tree.values())
    prune.global_unstructured(
        [(m, "weight") for m in modules.values()], prune.L1Unstructured, amount=round(sparsity * total)
    )
    for kind in (np.asarray, lambda a: a):  # NumPy's arrays and JAX's go different ways
        mask = global_magnitude_mask(jax.tree.map(kind, tree), sparsity)
        for name, module in modules.items():
            np.testing.assert_array_equal(mask[name], module.weight_mask.numpy().astype(bool))


def test_the_floor_keeps_a_layer_alive():
    tree = params()
    without, floor = (global_magnitude_mask(tree, 0.8, min_keep=k) for k in (0, 3))
    assert int(without["b"].sum()) < 3
    assert int(floor["b"].sum()) == 3
    kept = np.abs(np.asarray(tree["b"]))[np.asarray(floor["b"])]
    assert kept.min() >= np.sort(np.abs(np.asarray(tree["b"])).ravel())[-3] - 1e-7


def test_ties_and_bad_arguments():
    for ones in (np.ones(4), jax.numpy.ones(4)):
        assert global_magnitude_mask([ones], 0.5)[0].tolist() == [True, True, False, False]
    with pytest.raises(ValueError, match=r"sparsity=1\.5"):
        global_magnitude_mask(params(), 1.5)
