"""scikit-learn's handwritten digits, splits by seed, and label noise."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key


class Split(NamedTuple):
    """A data set cut in two."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def digits(
    classes: Sequence[int] | None = None,
) -> tuple[Float[np.ndarray, "examples 64"], Int[np.ndarray, " examples"]]:
    """1,797 handwritten digits of 8 × 8 pixels, from scikit-learn (UCI Optical Recognition, CC BY 4.0).

    **Arguments:**

    - `classes`: keep these digits only; labels are then their places in `classes`.

    **Returns:** grey values in [0, 1], float32, one row an image; and labels, int32.
    """
    from sklearn.datasets import load_digits

    data = load_digits()
    x, y = (data.data / 16).astype(np.float32), data.target.astype(np.int32)
    if classes is None:
        return x, y
    member = y[:, None] == np.asarray(classes)
    return x[member.any(1)], member[member.any(1)].argmax(1).astype(np.int32)


def split(x: np.ndarray, y: np.ndarray, train: int, *, seed: int) -> Split:
    """Cut `(x, y)` into `train` examples drawn at random without replacement, and all others.

    **Raises:** `ValueError` unless there is at least one example on each side.
    """
    if not 0 < train < len(x):
        raise ValueError(f"train={train} must lie between 1 and {len(x) - 1}")
    order = np.random.default_rng(seed).permutation(len(x))
    a, b = order[:train], order[train:]
    return Split(x[a], y[a], x[b], y[b])


def corrupt_labels(
    key: Key[Array, ""],
    labels: Int[Array, " examples"],
    share: float | Float[Array, ""],
    *,
    classes: int = 10,
    kind: Literal["random", "permuted"] = "random",
) -> Int[Array, " examples"]:
    """Replace the labels of a random share of the examples.

    Zhang et al., "Understanding deep learning requires rethinking generalization" (2017).

    **Arguments:**

    - `key`: which examples, and their new labels.
    - `labels`: 0 to `classes` - 1.
    - `share`: of the examples, rounded to a whole number of them; may be traced.
    - `kind`: `random` draws new labels uniformly from all classes (one in `classes` stays right by chance);
      `permuted` permutes the chosen examples' labels among themselves (the class counts stay as they are).

    **Returns:** the labels, those of the examples that were not chosen unchanged.
    """
    which, new = jax.random.split(key)
    examples = len(labels)
    order = jax.random.permutation(which, examples)
    chosen = jnp.arange(examples) < jnp.round(share * examples)
    if kind == "random":
        fresh = jax.random.randint(new, (examples,), 0, classes, labels.dtype)
    else:
        # Sorting random numbers below 1 permutes the chosen; the others' places follow in order.
        rank = jnp.where(chosen, jax.random.uniform(new, (examples,)), 1.0 + jnp.arange(examples))
        fresh = labels[order][jnp.argsort(rank)]
    return labels.at[order].set(jnp.where(chosen, fresh, labels[order]))
