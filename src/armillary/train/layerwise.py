"""Training a three-layer network one layer after the other."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from armillary.measure.eigen import solve_positive
from armillary.nn.three_layer import ThreeLayer
from armillary.train.fit import fit


def layerwise_three_layer(
    key: Key[Array, ""],
    x: Float[Array, "rows dim"],
    y: Float[Array, " rows"],
    *,
    width: int,
    activation: Callable[[Array], Array],
    bias: float = 0.0,
    outer_width: int = 60,
    share: float = 0.8,
    steps: int = 60,
    ridge: float = 0.01,
) -> ThreeLayer:
    """Train the inner weights first, then, on examples of their own, the outer ones.

    The first layer is random and stays. Stage 1: from zero, all middle units move along the same vector w, so
    that this is gradient descent on (w·σ(Vᵀx + v₀) - y)²/2, here with Nesterov's momentum of 0.9 at the largest
    stable rate 1/L. Stage 2: the units' slopes and biases are drawn anew, and the outer weights take the
    minimum of the square loss with weight decay, which is convex.

    "Learning Hierarchical Polynomials with Three-Layer Neural Networks" (2023), algorithm 1.

    **Arguments:**

    - `key`: the first layer, and the outer units' slopes (±1) and biases (uniform in ±3).
    - `x`: inputs, one row an example.
    - `y`: responses.
    - `width`: units of the first layer, each with weights on the unit sphere.
    - `activation`: σ.
    - `bias`: standard deviation of the first layer's biases v₀.
    - `outer_width`: units of the outer layer.
    - `share`: of the examples, from the first on, for stage 1; the rest is for stage 2.
    - `steps`: of stage 1.
    - `ridge`: the weight decay of stage 2, times the mean over its rows; the constant is free of it.

    **Returns:** a [`ThreeLayer`][armillary.nn.ThreeLayer]; its `feature` has mean 0 and variance 1 over the rows
    of stage 2.

    **Raises:** `ValueError` unless both stages have examples.
    """
    rows, dim = x.shape
    cut = int(share * rows)
    if not 0 < cut < rows:
        raise ValueError(f"share={share} of {rows} rows leaves one stage without any")
    k_first, k_bias, k_outer, k_sign = jax.random.split(key, 4)
    first = jax.random.normal(k_first, (dim, width))
    first = first / jnp.linalg.norm(first, axis=0)
    first_bias = bias * jax.random.normal(k_bias, (width,))

    units = activation(x[:cut] @ first + first_bias)
    mean = units.mean(0)
    units, response = units - mean, y[:cut] - y[:cut].mean()

    def power(_: int, w: Array) -> Array:
        w = (units @ w) @ units
        return w / jnp.linalg.norm(w)

    top = jax.lax.fori_loop(0, 10, power, jnp.abs(units[0]) + 1e-3)
    smooth = jnp.sum((units @ top) ** 2) / cut
    loss = lambda w, batch: 0.5 * jnp.mean((batch[0] @ w - batch[1]) ** 2)
    optimizer = optax.sgd(1 / smooth, momentum=0.9, nesterov=True)
    inner = fit(loss, jnp.zeros(width), (units, response), optimizer, steps=steps, every=steps).params

    u = activation(x[cut:] @ first + first_bias) @ inner
    center, scale = u.mean(), jnp.maximum(u.std(), jnp.finfo(u.dtype).tiny)
    slopes = jnp.where(jax.random.bernoulli(k_sign, shape=(outer_width,)), 1.0, -1.0)
    biases = jax.random.uniform(k_outer, (outer_width,), minval=-3.0, maxval=3.0)
    hidden = jax.nn.relu(slopes * ((u - center) / scale)[:, None] + biases)
    rest, level = hidden - hidden.mean(0), y[cut:].mean()
    normal = rest.T @ rest / (rows - cut) + ridge * jnp.eye(outer_width)
    outer = solve_positive(normal, rest.T @ (y[cut:] - level)[:, None] / (rows - cut))[:, 0]
    return ThreeLayer(
        first,
        first_bias,
        inner / scale,
        -center / scale,
        slopes,
        biases,
        outer,
        level - hidden.mean(0) @ outer,
        activation,
    )
