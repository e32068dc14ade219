"""Chaotic systems as vector fields, and the maps that a fixed-step integrator makes of them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

LORENZ63_EXPONENTS = (0.9056, 0.0, -14.5723)
"""Lyapunov exponents of Lorenz-63 at σ = 10, ρ = 28, β = 8/3, 1/time unit (Sprott, *Chaos and Time-Series
Analysis*, 2003); they add up to the divergence -(σ + 1 + β)."""


def lorenz63(
    state: Float[Array, " 3"], *, sigma: float = 10.0, rho: float = 28.0, beta: float = 8 / 3
) -> Float[Array, " 3"]:
    """The vector field of Lorenz's convection model (Deterministic Nonperiodic Flow, 1963, eq. 25–27)."""
    x, y, z = state
    return jnp.stack([sigma * (y - x), x * (rho - z) - y, x * y - beta * z])


def rossler(
    state: Float[Array, " 3"], *, a: float = 0.2, b: float = 0.2, c: float = 5.7
) -> Float[Array, " 3"]:
    """The vector field of Rössler's band (An Equation for Continuous Chaos, 1976)."""
    x, y, z = state
    return jnp.stack([-y - z, x + a * y, b + z * (x - c)])


def lorenz96(state: Float[Array, " n"], *, forcing: float = 8.0) -> Float[Array, " n"]:
    """The vector field of n variables on a ring (Predictability: A Problem Partly Solved, 1996)."""
    return (jnp.roll(state, -1) - jnp.roll(state, 2)) * jnp.roll(state, 1) - state + forcing


def rk4(field: Callable[[Array], Array], dt: float | Array) -> Callable[[Array], Array]:
    """The map `state(t) -> state(t + dt)` of the classical Runge–Kutta method; local error O(dt⁵)."""

    def step(state: Array) -> Array:
        a = field(state)
        b = field(state + dt / 2 * a)
        c = field(state + dt / 2 * b)
        d = field(state + dt * c)
        return state + dt / 6 * (a + 2 * b + 2 * c + d)

    return step


def orbit(
    step: Callable[[Array], Array], state: Float[Array, " n"], length: int, *, discard: int = 0
) -> Float[Array, "length n"]:
    """The states after `discard` + 1, … , `discard` + `length` steps of a map.

    **Raises:** `ValueError` if `length` is not positive or `discard` is negative.
    """
    if length < 1 or discard < 0:
        raise ValueError(f"length={length} must be positive and discard={discard} not negative")

    def advance(state: Array, _: None) -> tuple[Array, Array]:
        after = step(state)
        return after, after

    state = jax.lax.fori_loop(0, discard, lambda _, z: step(z), state)
    return jax.lax.scan(advance, state, length=length)[1]
