"""Growing a hidden layer by gradient boosting."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key

from armillary.measure.eigen import solve_positive
from armillary.nn.hidden_units import truncate_hidden
from armillary.nn.mlp import MLP
from armillary.train.fit import fit

Loss = Callable[[Float[Array, "rows out"], Any], Float[Array, ""]]


class Boosted(NamedTuple):
    """A hidden layer grown by boosting, as one ordinary network."""

    network: MLP
    """`steps`·`units` hidden units in the order of their training; output bias summed."""
    biases: Float[Array, "steps+1 out"]
    """The output bias of the sum F_t of the first t components; row 0 is the constant F_0."""
    rho: Float[Array, " steps"]
    """The line search's factors ρ_t."""
    loss: Float[Array, "steps+1"]
    """The training loss of F_0, …, F_T."""


def line_search_newton(
    loss: Callable[[Float[Array, "rows out"]], Float[Array, ""]],
    f: Float[Array, "rows out"],
    h: Float[Array, "rows out"],
    *,
    iterations: int = 10,
) -> Float[Array, ""]:
    """The factor ρ that lowers loss(f + ρ h), by Newton-Raphson from ρ = 0.

    A step that does not lower the loss is halved up to seven times, then left out. One iteration is exact where
    the loss is quadratic. Where f + ρ h lowers the loss without end (separable classes), ρ grows by about one
    decay length of the loss an iteration.

    Emami & Martínez-Muñoz, "Sequential Training of Neural Networks with Gradient Boosting" (2023).
    """
    along = lambda rho: loss(f + rho * h)
    shorter = 0.5 ** jnp.arange(8.0)

    def iterate(rho: Array, _: None) -> tuple[Array, None]:
        first, second = jax.jvp(jax.grad(along), (rho,), (jnp.ones_like(rho),))
        step = first / jnp.maximum(second, jnp.finfo(rho.dtype).eps * jnp.mean(h**2))
        tried = jnp.append(rho - step * shorter, rho)
        return tried[jnp.nanargmin(jax.lax.map(along, tried))], None

    return jax.lax.scan(iterate, jnp.zeros((), f.dtype), None, length=iterations)[0]


def best_constant(
    loss: Loss, targets: Any, rows: int, out: int, *, iterations: int = 20
) -> Float[Array, " out"]:
    """The constant output F_0 that minimizes the loss over all rows, by Newton's method from 0."""

    def of(constant: Array) -> Array:
        return loss(jnp.broadcast_to(constant, (rows, out)), targets)

    def iterate(constant: Array, _: None) -> tuple[Array, None]:
        # The ridge is for losses that a common shift of all outputs leaves alone, as the softmax does.
        hessian = jax.hessian(of)(constant) + 1e-4 * jnp.eye(out)
        return constant - solve_positive(hessian, jax.grad(of)(constant)[:, None])[:, 0], None

    return jax.lax.scan(iterate, jnp.zeros(out), None, length=iterations)[0]


def sgd_boost(
    key: Key[Array, ""],
    x: Float[Array, "rows into"],
    targets: Any,
    loss: Loss,
    *,
    out: int,
    units: int,
    steps: int,
    shrinkage: float | Float[Array, ""] = 0.5,
    epochs: int = 200,
    rate: float | Float[Array, ""] = 0.03,
    refresh: float | Float[Array, ""] = 1.0,
    searches: int = 1,
    activation: Callable[[Array], Array] = jnp.tanh,
) -> Boosted:
    """Grow a one-hidden-layer network `units` units at a time on the pseudo-residuals of those before.

    F_t = F_{t-1} + ν ρ_t h_t, where the small network h_t fits -∂L/∂F(x_i) at F_{t-1} in least squares, and
    ρ_t minimizes the loss along h_t. Every h_t is linear in its output weights, so that F_T is one network.

    Emami & Martínez-Muñoz, "Sequential Training of Neural Networks with Gradient Boosting" (2023).

    **Arguments:**

    - `key`: the initial weights of the components.
    - `x`: rows × columns, all used in every epoch; standardize the columns.
    - `targets`: whatever `loss` takes as its second argument.
    - `loss`: `(outputs, targets) -> scalar`, a mean over the rows; convex in the outputs.
    - `out`: the number of outputs.
    - `units`: hidden units J of a component.
    - `steps`: components T.
    - `shrinkage`: ν.
    - `epochs`: full-batch Adam steps for a component.
    - `rate`: their largest step, after which it falls as a cosine.
    - `refresh`: 1 takes the residuals at F_{t-1}; 0 takes those at F_0 every time, so that all components fit
      one target; between, at that share of the way.
    - `searches`: Newton steps for ρ.
    - `activation`: of the hidden units.

    **Returns:** a [`Boosted`][armillary.train.Boosted].
    """
    rows, into = x.shape
    constant = best_constant(loss, targets, rows, out)
    start = jnp.broadcast_to(constant, (rows, out))
    optimizer = optax.inject_hyperparams(lambda rate: optax.adam(rate))(  # a traced peak of the schedule
        rate=lambda step: rate * 0.5 * (1 + jnp.cos(jnp.pi * step / epochs))
    )

    # A column an example: with a row an example the few units are the short side of every product, and it takes
    # five times as long.
    def squares(small: MLP, batch: tuple[Array, Array]) -> Array:
        (first, second), (inner, last) = small.weights, small.biases or ()
        hidden = activation(first.T @ batch[0] + inner[:, None])
        return jnp.mean((second.T @ hidden + last[:, None] - batch[1]) ** 2)

    def grow(f: Array, key: Array) -> tuple[Array, tuple[MLP, Array, Array]]:
        seen = start + refresh * (f - start)
        residuals = -rows * jax.grad(loss)(seen, targets)
        small = MLP((into, units, out), key, activation=activation)
        small = fit(squares, small, (x.T, residuals.T), optimizer, steps=epochs, every=epochs).params
        h = small(x)
        rho = line_search_newton(lambda f: loss(f, targets), f, h, iterations=searches)
        f = f + shrinkage * rho * h
        return f, (small, rho, loss(f, targets))

    _, (parts, rho, losses) = jax.lax.scan(grow, start, jax.random.split(key, steps))
    factor = shrinkage * rho
    assert parts.biases is not None
    biases = constant + jnp.cumsum(factor[:, None] * parts.biases[1], 0)
    network = eqx.tree_at(
        lambda m: (m.weights, m.biases),
        MLP((into, units, out), key, activation=activation),
        (
            (
                jnp.moveaxis(parts.weights[0], 0, 1).reshape(into, steps * units),
                (factor[:, None, None] * parts.weights[1]).reshape(steps * units, out),
            ),
            (parts.biases[0].reshape(-1), biases[-1]),
        ),
    )
    return Boosted(network, jnp.vstack([constant, biases]), rho, jnp.append(loss(start, targets), losses))


def boosted_part(
    boosted: Boosted, keep: int | Int[Array, ""], *, end: Literal["first", "last"] = "first"
) -> MLP:
    """The network with only `keep` of its components left on, their biases included.

    **Arguments:**

    - `boosted`: what `sgd_boost` returned.
    - `keep`: how many components; may be traced.
    - `end`: `first` keeps those trained first, which gives F_keep; `last` those trained last.
    """
    network, biases = boosted.network, boosted.biases
    total, hidden = len(boosted.rho), len(network.weights[-1])
    if end == "first":
        order, bias = jnp.arange(hidden), biases[keep]
    else:
        order, bias = jnp.arange(hidden)[::-1], biases[0] + biases[-1] - biases[total - keep]
    network = eqx.tree_at(lambda m: m.biases[-1], network, bias)
    return truncate_hidden(network, keep * (hidden // total), order)
