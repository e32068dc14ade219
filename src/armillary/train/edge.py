"""Full-batch gradient descent with its sharpness and every example's loss on the way."""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from armillary.measure.curvature import hessian_operator
from armillary.measure.lanczos import largest_eigenvalues
from armillary.train.fit import fit


class EdgeTrace(NamedTuple):
    """A run of gradient descent."""

    params: PyTree
    """After the last step."""
    losses: Float[Array, "steps examples"]
    """Every example's loss before each step."""
    sharpness: Float[Array, " points"]
    """The Hessian's largest eigenvalue λ before steps 0, every, 2·every, … and after the last. Gradient descent is
    unstable where rate · λ / 2 exceeds 1."""


def edge_of_stability_trace(
    losses: Callable[[PyTree, PyTree], Float[Array, " examples"]],
    params: PyTree,
    batch: PyTree,
    rate: float | Float[Array, ""],
    *,
    steps: int,
    every: int,
    key: Key[Array, ""],
    products: int = 12,
) -> EdgeTrace:
    """Descend on the mean of `losses`, keeping each of them at every step, and the sharpness at a stride.

    "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability" (Cohen et al. 2021) for the
    sharpness; "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization" (2023) for
    the losses.

    **Arguments:**

    - `losses`: `(params, batch) -> one loss an example`.
    - `params`: any pytree; its inexact arrays are trained.
    - `batch`: all of the training set.
    - `rate`: the learning rate; may be traced.
    - `steps`: how many, a multiple of `every`.
    - `every`: the stride of the sharpness.
    - `key`: Lanczos' start.
    - `products`: Hessian-vector products spent on each sharpness, at most as many as there are parameters.

    **Raises:** `ValueError` if `steps` is no multiple of `every`.
    """
    if every < 1 or steps < 0 or steps % every:
        raise ValueError(f"steps={steps} must be a non-negative multiple of every={every}")
    loss = lambda params, batch: losses(params, batch).mean()

    def sharpness(params: PyTree) -> Array:
        operator = hessian_operator(loss, params, batch)
        return largest_eigenvalues(operator, 1, key=key, steps=products).values[0]

    arrays, static = eqx.partition(params, eqx.is_array)
    record = lambda params: losses(params, batch)

    def block(arrays: PyTree, _: None) -> tuple[PyTree, tuple[Array, Array]]:
        params = eqx.combine(arrays, static)
        run = fit(loss, params, batch, optax.sgd(rate), steps=every, record=record)
        return eqx.filter(run.params, eqx.is_array), (run.record, sharpness(params))

    arrays, (kept, sharp) = jax.lax.scan(block, arrays, length=steps // every)
    params = eqx.combine(arrays, static)
    return EdgeTrace(params, kept.reshape(steps, -1), jnp.append(sharp, sharpness(params)))
