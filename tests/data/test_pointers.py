import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.data import pointer_chasing


@pytest.mark.parametrize(("hops", "nodes"), [(1, 8), (4, 8), (6, 8), (12, 8), (12, 12)])
def test_traces_by_following_names(hops, nodes):
    maps = pointer_chasing(jax.random.key(hops), 200, hops, nodes=nodes)
    for names, images, trace in zip(*(np.asarray(a) for a in maps[:3]), strict=True):
        assert len(set(names)) == nodes
        leads = dict(zip(names, images, strict=True))
        at = trace[0]
        for seen in trace[1:]:
            at = leads[at]
            assert at == seen
        assert len(set(trace[: hops + 1])) == min(hops + 1, nodes)


def test_the_rest_of_the_map_is_as_in_all_maps_with_such_a_path():
    """On 3 nodes, 2 hops from a start: 3·2·1 paths, and the last node's image is any of the 3."""
    maps = pointer_chasing(jax.random.key(0), 9000, 2, nodes=3, names=3)
    keys = np.asarray(jnp.take_along_axis(maps.images, jnp.argsort(maps.names, -1), -1)) @ [9, 3, 1]
    counts = np.unique(keys * 3 + np.asarray(maps.trace)[:, 0], return_counts=True)[1]
    assert len(counts) == 18
    assert counts.min() > 400
    assert counts.max() < 600


def test_each_map_may_ask_for_its_own_steps():
    maps = pointer_chasing(jax.random.key(0), 3, jnp.array([1, 2, 3]))
    np.testing.assert_array_equal(maps.hops, [1, 2, 3])
    with pytest.raises(ValueError, match="names=4 must be at least nodes=8"):
        pointer_chasing(jax.random.key(0), 3, 1, names=4)
