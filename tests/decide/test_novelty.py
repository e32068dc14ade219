"""Novelty by SciPy's nearest neighbours, and the archive."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from armillary.decide import empty_archive, novelty, remember


def test_novelty_is_scipys_nearest_neighbours():
    rng = np.random.default_rng(0)
    seen, old = rng.random((20, 2)), rng.random((9, 2))
    archive = empty_archive(16, 2)
    archive = remember(archive, jnp.array(old), jax.random.key(0), 1.0)
    assert int(archive.filled) == 9
    found = novelty(jnp.array(seen), archive, 5)
    distances, _ = KDTree(np.concatenate([seen, old])).query(seen, 6)
    np.testing.assert_allclose(found, distances[:, 1:].mean(1), atol=1e-5)


def test_a_share_is_remembered_until_the_archive_is_full():
    rows = jnp.arange(2000.0)[:, None]
    archive = remember(empty_archive(500, 1), rows, jax.random.key(0), 0.1)
    kept = np.asarray(archive.behaviours[: int(archive.filled), 0])
    assert 150 < len(kept) < 250
    assert (np.diff(kept) > 0).all()
    full = remember(remember(archive, rows, jax.random.key(1), 1.0), rows, jax.random.key(2), 1.0)
    assert int(full.filled) == 500
    np.testing.assert_array_equal(full.behaviours[: len(kept), 0], kept)


def test_with_too_few_others_everything_is_new():
    assert np.isinf(novelty(jnp.zeros((3, 2)), empty_archive(4, 2), 5)).all()
