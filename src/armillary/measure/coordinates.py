"""The coordinate check: how the change of a network's coordinates scales with its width."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.attention import power_law


class CoordinateCheck(NamedTuple):
    """Root-mean-square changes of each layer's coordinates, and how they scale."""

    changes: Float[Array, "widths layers"]
    """The change of an entry of the layer's preactivations, root mean square over entries and examples."""
    slopes: Float[Array, " layers"]
    """Of log change on log width: 0 if the layer moves alike at any width, positive if it will blow up,
    negative if it will freeze."""


def root_mean_square(x: Float[Array, "..."]) -> Float[Array, ""]:
    """√ of the mean of the squared entries."""
    return jnp.sqrt(jnp.mean(x**2))


def relative_change(before: Float[Array, "..."], after: Float[Array, "..."]) -> Float[Array, ""]:
    """The root-mean-square change over the root-mean-square start."""
    return root_mean_square(after - before) / root_mean_square(before)


def coordinate_check(
    run: Callable[[int], tuple[Sequence[Any], Sequence[Any]]], widths: Sequence[int]
) -> CoordinateCheck:
    """Train at several widths and fit the power of width by which each layer's coordinates move.

    "Tensor Programs V: Tuning Large Neural Networks via Zero-Shot Hyperparameter Transfer" (Yang et al. 2022,
    appendix D.1).

    **Arguments:**

    - `run`: `width -> (before, after)`: each layer's coordinates (such as `armillary.nn.preactivations`) on one
      batch, before and after a few steps. Same data and seed at each width.
    - `widths`: two or more.
    """
    rows = []
    for width in widths:
        before, after = run(width)
        rows.append(jnp.stack([root_mean_square(b - a) for a, b in zip(before, after)]))
    changes = jnp.stack(rows)
    return CoordinateCheck(changes, power_law(jnp.array(widths, float), changes.T).slope)
