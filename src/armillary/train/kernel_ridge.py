"""Kernel ridge regression, and how its error falls with the number of examples."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import solve_positive


def kernel_ridge(
    gram: Float[Array, "rows rows"],
    y: Float[Array, "rows *out"],
    cross: Float[Array, "queries rows"],
    *,
    ridge: float | Float[Array, ""] = 1e-3,
) -> Float[Array, "queries *out"]:
    """The predictions of ridge regression in a kernel's space: cross (gram + λ I)⁻¹ y.

    What gradient descent with weight decay on a wide network's last layer, or on all of a network that stays in
    its tangent space, converges to.

    **Arguments:**

    - `gram`: the kernel between all training inputs.
    - `y`: responses.
    - `cross`: the kernel between queries and training inputs.
    - `ridge`: λ over the mean of the gram matrix's diagonal. Much less than 1e-6 is lost in 32-bit rounding.
    """
    shift = ridge * jnp.trace(gram) / len(gram)
    system = gram + shift * jnp.eye(len(gram))
    solve = lambda _, right: solve_positive(jax.lax.stop_gradient(system), right)
    right = y.reshape(len(y), -1)
    weights = jax.lax.custom_linear_solve(lambda w: system @ w, right, solve, symmetric=True)
    return cross @ weights.reshape(y.shape)


def ridge_learning_curve(
    features: Float[Array, "rows features"],
    y: Float[Array, "rows targets"],
    sizes: Sequence[int],
    *,
    validation: int,
    ridges: Sequence[float] = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0),
) -> Float[Array, "sizes targets"]:
    """The test error of ridge regression after so many examples, the penalty chosen on held-out rows for each target.

    The first `max(sizes)` rows are for training, the next `validation` ones for the choice, the rest for the test.
    Features and targets are centred by the training rows, which is an unpenalized intercept.

    **Arguments:**

    - `features`: of all rows; solved through the kernel between rows, so they may be many.
    - `y`: any number of targets, which share the features' factorizations.
    - `sizes`: how many of the training rows to use.
    - `validation`: rows for the choice of the penalty.
    - `ridges`: the penalties to choose from, in units of [`kernel_ridge`][armillary.train.kernel_ridge].

    **Returns:** the mean squared error on the test rows over the targets' variance there.

    **Raises:** `ValueError` if no rows are left for the test.
    """
    train = max(sizes)
    if train + validation >= len(features):
        raise ValueError(
            f"{len(features)} rows: {train} to train on and {validation} to validate leave none for the test"
        )
    held = y[train:]

    def error(n: int) -> Array:
        rows = features - features[:n].mean(0)
        gram, cross = rows[:n] @ rows[:n].T, rows[train:] @ rows[:n].T
        mean = y[:n].mean(0)
        predict = lambda ridge: mean + kernel_ridge(gram, y[:n] - mean, cross, ridge=ridge)
        squares = (jax.lax.map(predict, jnp.array(ridges)) - held) ** 2
        best = jnp.argmin(squares[:, :validation].mean(1), 0)
        test = jnp.take_along_axis(squares[:, validation:].mean(1), best[None], 0)[0]
        return test / held[validation:].var(0)

    return jnp.stack([error(n) for n in sizes])
