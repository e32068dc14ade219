"""Generalized teacher forcing: a roll-out whose state is pulled part of the way towards the data.

Generalized Teacher Forcing for Learning Chaotic Dynamics (2023). Back-propagation through the forced roll-out sees
products of (1 - α) J instead of J, so gradients grow by λ₁ + ln(1 - α) a step, λ₁ being the largest Lyapunov
exponent a step: bounded from α = 1 - exp(-λ₁) on. α = 0 runs free, α = 1 is one-step teacher forcing.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Scalar = float | Float[Array, ""]


def force(
    state: Float[Array, " n"], target: Float[Array, " n"], alpha: Scalar, *, straight_through: Scalar = 0.0
) -> Float[Array, " n"]:
    """The forced state (1 - α) z + α ẑ (eq. 6).

    With `straight_through` = 1 the same value, but the pull is a constant to differentiation, so that the
    derivative is 1 instead of 1 - α: bounded states without bounded gradients.
    """
    pull = alpha * (target - state)
    return state + (1 - straight_through) * pull + straight_through * jax.lax.stop_gradient(pull)


def forced_rollout(
    step: Callable[[Array], Array],
    series: Float[Array, "time n"],
    alpha: Scalar,
    *,
    every: Scalar = 1.0,
    straight_through: Scalar = 0.0,
) -> Float[Array, "time-1 n"]:
    """The model's states z_1, z_2, … along a series: z_0 is the data's, z_t = F((1 - α) z_{t-1} + α x_{t-1}).

    **Arguments:**

    - `step`: F, one step of the model.
    - `series`: the data x_0, x_1, …; the data-inferred states, where observations are not states.
    - `alpha`: the forcing strength in [0, 1]; may be traced.
    - `every`: pull only at every so many steps, a whole number. With `alpha` = 1 this is sparse teacher
      forcing (Mikhaeil, Monfared and Durstewitz, On the Difficulty of Learning Chaotic Dynamics with RNNs, 2022).
    - `straight_through`: see `force`.
    """

    def advance(state: Array, now: tuple[Array, Array]) -> tuple[Array, Array]:
        target, time = now
        pull = jnp.where(time % every == 0, alpha, 0.0)
        after = step(force(state, target, pull, straight_through=straight_through))
        return after, after

    times = jnp.arange(len(series) - 1, dtype=series.dtype)
    return jax.lax.scan(advance, series[0], (series[:-1], times))[1]


def generalized_teacher_forcing(
    step: Callable[[Array], Array],
    series: Float[Array, "time n"],
    alpha: Scalar,
    *,
    every: Scalar = 1.0,
    straight_through: Scalar = 0.0,
) -> Float[Array, ""]:
    """Mean squared error of the forced roll-out against the series (eq. 5, 6); differentiate and descend.

    Arguments as in `forced_rollout`. The errors are those of z_t *before* it is pulled.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.series import generalized_teacher_forcing, lorenz63, orbit, rk4

    series = orbit(rk4(lorenz63, 0.02), jnp.array([1.0, 1.0, 20.0]), 200, discard=500)
    model = lambda rho: rk4(lambda state: lorenz63(state, rho=rho), 0.02)
    loss = lambda rho, alpha: generalized_teacher_forcing(model(rho), series, alpha)
    jax.grad(loss)(27.0, 0.0), jax.grad(loss)(27.0, 0.2)  # the pull tames the gradient
    ```
    """
    states = forced_rollout(step, series, alpha, every=every, straight_through=straight_through)
    return jnp.mean((states - series[1:]) ** 2)


class ForcedGradient(NamedTuple):
    """What `forced_gradient` returns, for each time t = 1, 2, …"""

    log_jacobian: Float[Array, " time-1"]
    """ln of the Frobenius norm of ∂z_t/∂z_0 through the forced roll-out, nats."""
    log_gradient: Float[Array, " time-1"]
    """ln of the norm of the gradient, by z_0, of the loss ½‖z_t - x_t‖² of step t alone, nats."""


def forced_gradient(
    step: Callable[[Array], Array],
    series: Float[Array, "time n"],
    alpha: Scalar,
    *,
    straight_through: Scalar = 0.0,
) -> ForcedGradient:
    """How the gradient through a forced roll-out grows or fades with the number of steps.

    The product of the Jacobians (eq. 8) is normalized at every step and its size kept as a logarithm, so
    that lengths at which the gradient itself would overflow or vanish are measured as well.
    """

    def advance(carry: tuple[Array, Array, Array], now: tuple[Array, Array]) -> tuple[tuple, tuple]:
        state, product, size = carry
        before, after = now
        forced = lambda z: step(force(z, before, alpha, straight_through=straight_through))
        state, jvp = jax.linearize(forced, state)
        product = jax.vmap(jvp, in_axes=1, out_axes=1)(product)
        norm = jnp.linalg.norm(product)
        product, size = product / norm, size + jnp.log(norm)
        return (state, product, size), (size, size + jnp.log(jnp.linalg.norm((state - after) @ product)))

    n = series.shape[1]
    start = (series[0], jnp.eye(n, dtype=series.dtype), jnp.zeros((), series.dtype))
    return ForcedGradient(*jax.lax.scan(advance, start, (series[:-1], series[1:]))[1])


def critical_forcing(exponent: Scalar) -> Float[Array, ""]:
    """The least α at which gradients stay bounded on average, 1 - exp(-λ₁); 0 where nothing grows.

    `exponent` is the largest Lyapunov exponent per step.
    """
    return jnp.maximum(0.0, -jnp.expm1(-jnp.asarray(exponent)))


def adaptive_forcing(jacobians: Float[Array, "time n n"]) -> Float[Array, ""]:
    """α = 1 - 1/‖G‖₂ with G the arithmetic mean of the Jacobians, at least 0 (section 3.3, adaptive forcing)."""
    size = jnp.linalg.norm(jacobians.mean(0), ord=2)
    return jnp.maximum(0.0, 1 - 1 / size)
