"""Loss along paths between two parameter vectors: the straight line and a trained quadratic Bezier curve."""

from typing import Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from armillary.measure.curvature import Loss
from armillary.train.fit import fit


class BezierPath(NamedTuple):
    """What `bezier_barrier` returns."""

    barrier: Float[Array, ""]
    """The largest rise of the loss along the curve above the larger end."""
    bend: PyTree
    """The trained control point, a pytree like the parameters."""
    losses: Float[Array, " points"]
    """The loss at evenly spaced t from 0 (the first parameters) to 1 (the second)."""


def _mix(weights: list[float | Float[Array, ""]], trees: list[PyTree]) -> PyTree:
    """A linear combination of the inexact arrays; everything else is the first pytree's."""
    arrays = [eqx.filter(tree, eqx.is_inexact_array) for tree in trees]
    mixed = jax.tree.map(lambda *leaves: sum(w * leaf for w, leaf in zip(weights, leaves)), *arrays)
    return eqx.combine(mixed, eqx.filter(trees[0], eqx.is_inexact_array, inverse=True))


def line_point(a: PyTree, b: PyTree, t: float | Float[Array, ""]) -> PyTree:
    """The point (1-t) a + t b of the straight line between two parameter pytrees."""
    return _mix([1 - t, t], [a, b])


def bezier_point(a: PyTree, bend: PyTree, b: PyTree, t: float | Float[Array, ""]) -> PyTree:
    """The point (1-t)² a + 2t(1-t) bend + t² b of a quadratic Bezier curve (Garipov et al. 2018, eq. 4)."""
    return _mix([(1 - t) ** 2, 2 * t * (1 - t), t**2], [a, bend, b])


def line_losses(
    loss: Loss, a: PyTree, b: PyTree, batch: PyTree, *, points: int = 21
) -> Float[Array, " points"]:
    """The loss at evenly spaced points of the straight line from `a` to `b`, both ends included."""
    return jax.lax.map(lambda t: loss(line_point(a, b, t), batch), jnp.linspace(0, 1, points))


def bezier_losses(
    loss: Loss, a: PyTree, bend: PyTree, b: PyTree, batch: PyTree, *, points: int = 21
) -> Float[Array, " points"]:
    """The loss at evenly spaced t of a quadratic Bezier curve from `a` to `b`, both ends included."""
    return jax.lax.map(lambda t: loss(bezier_point(a, bend, b, t), batch), jnp.linspace(0, 1, points))


def path_barrier(
    losses: Float[Array, " points"], *, above: Literal["larger", "line"] = "larger"
) -> Float[Array, ""]:
    """The height of the barrier along a path, from the losses at evenly spaced points; never negative.

    **Arguments:**

    - `losses`: along the path, both ends included.
    - `above`: the rise over the `larger` end ("Essentially No Barriers in Neural Network Energy
      Landscape", Draxler et al. 2018), or over the `line` between the ends' losses ("The Role of
      Permutation Invariance in Linear Mode Connectivity", Entezari et al. 2022, definition 1).
    """
    if above == "larger":
        return losses.max() - jnp.maximum(losses[0], losses[-1])
    return (losses - jnp.linspace(losses[0], losses[-1], losses.size)).max()


def bezier_barrier(
    loss: Loss,
    a: PyTree,
    b: PyTree,
    batch: PyTree,
    *,
    key: Key[Array, ""],
    steps: int = 100,
    rate: float = 0.01,
    draws: int = 4,
    points: int = 21,
    optimizer: optax.GradientTransformation | None = None,
) -> BezierPath:
    """Train the bend of a quadratic Bezier curve between two solutions, and measure its barrier.

    "Loss Surfaces, Mode Connectivity, and Fast Ensembling of DNNs" (Garipov et al. 2018): the bend starts in
    the middle of the line and minimizes the mean loss over t uniform in [0, 1].

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`.
    - `a`, `b`: the ends, pytrees of one structure.
    - `batch`: handed on to `loss`, whole at every step.
    - `key`: the randomness of t.
    - `steps`: of training the bend.
    - `rate`: of Adam, unless an `optimizer` is given.
    - `draws`: values of t a step, evenly spaced with a random offset.
    - `points`: at which the trained curve is measured.
    """
    offsets = jnp.arange(draws) / draws
    along = lambda bend, t: jax.vmap(lambda t: loss(bezier_point(a, bend, b, t), batch))(t).mean()
    draw = lambda key: (jax.random.uniform(key) + offsets) % 1
    trained = fit(
        along, line_point(a, b, 0.5), draw, optimizer or optax.adam(rate), steps=steps, key=key, every=steps
    )
    losses = bezier_losses(loss, a, trained.params, b, batch, points=points)
    return BezierPath(path_barrier(losses), trained.params, losses)
