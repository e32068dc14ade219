"""Physics-informed networks for transport in a frame that moves with a share of the flow.

Lagrangian PINNs: A causality-conforming solution to failure modes of physics-informed neural networks (2022).
"""

from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key, PyTree

from armillary.nn import MLP
from armillary.train import Fit, fit

Scalar = float | Float[Array, ""]


class PeriodicField(eqx.Module):
    """A network u(X, t), exactly 2π-periodic in X: an MLP of (sin X, cos X, 2t - 1), t in [0, 1]."""

    net: MLP

    def __init__(self, hidden: tuple[int, ...], key: Key[Array, ""]):
        """`hidden`: widths of the tanh layers."""
        self.net = MLP((3, *hidden, 1), key, activation=jnp.tanh)

    def __call__(self, x: Float[Array, ""], time: Float[Array, ""]) -> Float[Array, ""]:
        """u at one point."""
        return self.net(jnp.stack([jnp.sin(x), jnp.cos(x), 2 * time - 1]))[0]


class Characteristics(eqx.Module):
    """A network x(X, t) = X + c t g(X, t) of particle positions; x(X, 0) = X exactly, and g = 0 untrained."""

    net: PeriodicField
    speed: Scalar

    def __init__(self, hidden: tuple[int, ...], speed: Scalar, key: Key[Array, ""]):
        """`hidden`: widths of g's tanh layers. `speed`: c, length/time; not trained."""
        field = PeriodicField(hidden, key)
        self.net = eqx.tree_at(lambda f: f.net.weights[-1], field, replace_fn=jnp.zeros_like)
        self.speed = speed

    def __call__(self, x: Float[Array, ""], time: Float[Array, ""]) -> Float[Array, ""]:
        """Where at `time` the particle is that starts at X; not wrapped into a period."""
        return x + jax.lax.stop_gradient(self.speed) * time * self.net(x, time)


class Residuals(NamedTuple):
    """What `lagrangian_residual` returns, at one point (X, t)."""

    state: Float[Array, ""]
    """x_X (u_t|_X - ρ u (1 - u)) + (1 - θ) c u_X, 1/time."""
    position: Float[Array, ""]
    """x_t / c - θ, 1."""


def lagrangian_residual(
    state: Callable[[Array, Array], Array],
    position: Callable[[Array, Array], Array],
    x: Float[Array, ""],
    time: Float[Array, ""],
    *,
    speed: Scalar,
    share: Scalar,
    rate: Scalar = 0.0,
) -> Residuals:
    """The residuals of u_t + c u_x = ρ u (1 - u) in a frame that moves at θ c.

    `share` = θ: 0 is the ordinary physics-informed network, 1 the paper's Lagrangian one, and in between what is
    left is transport at the slip speed (1 - θ) c. The spatial derivative at fixed time goes through the positions,
    u_x = u_X / x_X; the residual is multiplied by x_X, which makes it one per length dx and leaves no quotient that
    is singular where untrained positions cross. x_X is held constant in differentiation, so that the state's
    residual does not train the positions.

    **Arguments:**

    - `state`: u(X, t). `position`: x(X, t). Both of one point.
    - `x`, `time`: the particle's label X and the time.
    - `speed`: c > 0, length/time. `rate`: ρ of logistic growth, 1/time.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.operators import Characteristics, PeriodicField, lagrangian_residual

    state = PeriodicField((24, 24), jax.random.key(0))
    position = Characteristics((8,), 30.0, jax.random.key(1))
    residual = lambda x, t: lagrangian_residual(state, position, x, t, speed=30.0, share=1.0)
    jax.vmap(residual)(jnp.linspace(0, 6, 7), jnp.linspace(0, 1, 7)).state  # θ = 1: the frame moves with the flow
    ```
    """
    stretch, drift = jax.grad(position, (0, 1))(x, time)
    u, (u_x, u_t) = jax.value_and_grad(state, (0, 1))(x, time)
    change = u_t - rate * u * (1 - u)
    residual = jax.lax.stop_gradient(stretch) * change + (1 - share) * speed * u_x
    return Residuals(residual, drift / speed - share)


def fit_pinn(
    residual: Callable[[PyTree, Array, Array], Residuals],
    mismatch: Callable[[PyTree, Array], Array],
    params: PyTree,
    key: Key[Array, ""],
    *,
    steps: int,
    points: int = 128,
    rate: Scalar = 1e-2,
    weight: Scalar = 100.0,
    every: int = 1,
    length: float = 2 * jnp.pi,
) -> Fit:
    """Train on fresh uniform points at every step: mean squared residuals + weight · squared initial mismatch.

    Adam (β₂ = 0.99) under a cosine rate to zero.

    **Arguments:**

    - `residual`: `(params, X, t) -> Residuals`, at one point.
    - `mismatch`: `(params, X) -> u(X, 0) - u_0(X)`, at one point.
    - `params`: the networks.
    - `points`: in [0, length) × [0, 1] a step, and as many in [0, length) for the initial condition.
    - `rate`: the first step size. `weight`: of the initial condition.
    - `every`: the stride of the loss curve.
    """

    def draw(key: Array) -> tuple[Array, Array]:
        x, t = jax.random.uniform(key, (2, points))
        return length * x, t

    def loss(params: PyTree, batch: tuple[Array, Array]) -> Array:
        x, t = batch
        terms = jax.vmap(lambda x, t: residual(params, x, t))(x, t)
        initial = jax.vmap(lambda x: mismatch(params, x))(x)
        return sum(jnp.mean(r**2) for r in terms) + weight * jnp.mean(initial**2)

    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps), b2=0.99)
    return fit(loss, params, draw, optimizer, steps=steps, key=key, every=every)
