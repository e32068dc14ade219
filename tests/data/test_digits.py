import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.datasets import load_digits

from armillary.data import corrupt_labels, digits, split


def test_digits_are_scikit_learns_in_the_unit_interval():
    x, y = digits()
    raw = load_digits()
    assert x.dtype == np.float32
    assert (x.min(), x.max()) == (0, 1)
    np.testing.assert_allclose(x * 16, raw.data)
    np.testing.assert_array_equal(y, raw.target)


def test_classes_are_kept_and_renumbered_by_place():
    x, y = digits((8, 3))
    raw = load_digits()
    np.testing.assert_allclose(x[y == 0] * 16, raw.data[raw.target == 8])
    np.testing.assert_allclose(x[y == 1] * 16, raw.data[raw.target == 3])
    assert len(x) == (raw.target == 8).sum() + (raw.target == 3).sum()


def test_split_is_a_partition_fixed_by_its_seed():
    x = np.arange(50)[:, None]
    cut = split(x, x[:, 0], 20, seed=3)
    assert len(cut.x_train) == 20
    np.testing.assert_array_equal(np.sort(np.r_[cut.y_train, cut.y_test]), np.arange(50))
    np.testing.assert_array_equal(cut.x_test[:, 0], cut.y_test)
    np.testing.assert_array_equal(cut.x_train, split(x, x[:, 0], 20, seed=3).x_train)
    assert not np.array_equal(cut.x_train, split(x, x[:, 0], 20, seed=4).x_train)
    with pytest.raises(ValueError, match="between 1 and 49"):
        split(x, x, 50, seed=0)


def test_random_labels_replace_an_exact_share_uniformly():
    labels = jnp.zeros(20_000, jnp.int32)
    new = corrupt_labels(jax.random.key(0), labels, 0.5, classes=4)
    counts = np.bincount(new, minlength=4)
    # Half are redrawn, a quarter of those to each class: 12,500 and 2,500, with a deviation of about 43.
    np.testing.assert_allclose(counts, [12_500, 2_500, 2_500, 2_500], atol=200)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_permuted_labels_keep_the_class_counts(share):
    labels = jnp.arange(1000)
    new = jax.jit(lambda s: corrupt_labels(jax.random.key(1), labels, s, kind="permuted"))(share)
    np.testing.assert_array_equal(np.sort(new), np.arange(1000))
    # A random permutation of k > 0 places has one fixed point on average.
    assert abs(int((new != labels).sum()) - 1000 * share) <= 5


def test_every_example_is_corrupted_equally_often():
    labels = jnp.zeros(10, jnp.int32)
    hit = jax.vmap(lambda k: corrupt_labels(k, labels, 0.2, classes=1000) != labels)(
        jax.random.split(jax.random.key(2), 4000)
    )
    np.testing.assert_allclose(hit.mean(0), 0.2, atol=0.03)
    assert hit.sum(1).max() == 2
