"""Lyapunov exponents by QR decomposition of Jacobian products."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Lyapunov(NamedTuple):
    """What `lyapunov_exponents` returns."""

    exponents: Float[Array, " count"]
    """Mean growth rates of tangent vectors, largest first on average, 1/step (divide by dt for 1/time)."""
    orbit: Float[Array, "length n"]
    """The states after each step; costs nothing where it is not used under `jit`."""


def lyapunov_exponents(
    step: Callable[[Array], Array],
    state: Float[Array, " n"],
    *,
    length: int,
    count: int | None = None,
    every: int = 1,
    discard: int = 0,
) -> Lyapunov:
    """Lyapunov exponents of a differentiable map along one orbit.

    `count` tangent vectors are pushed by the Jacobian and made orthonormal every few steps: J_t⋯J_1 Q_0 = Q R,
    and the k-th exponent is the mean of ln |R_kk| (Benettin, Galgani, Giorgilli and Strelcyn, Lyapunov
    Characteristic Exponents for Smooth Dynamical Systems, 1980; Eckmann and Ruelle, 1985, section V).

    **Arguments:**

    - `step`: one step of the map, differentiable forwards.
    - `state`: where the orbit starts.
    - `length`: steps that are averaged over; a multiple of `every`.
    - `count`: how many exponents, from the largest; all n by default.
    - `every`: steps between two decompositions; (λ_1 - λ_count)·every must stay well below
      16 nats (32-bit) or 36 nats (64-bit), the precision's digits.
    - `discard`: steps, a multiple of `every`, taken first and not averaged, in which the tangent vectors
      align with the growing directions.

    **Raises:** `ValueError` if `length` or `discard` is no multiple of `every`, or `count` is not in 1 … n.
    """
    n = state.shape[0]
    count = n if count is None else count
    if not 1 <= count <= n:
        raise ValueError(f"count={count} must be in 1 … {n}")
    if every < 1 or length < every or length % every or discard < 0 or discard % every:
        raise ValueError(f"length={length} and discard={discard} must be multiples of every={every}")

    def push(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        state, tangents = carry
        after, jvp = jax.linearize(step, state)
        return (after, jax.vmap(jvp, in_axes=1, out_axes=1)(tangents)), after

    def block(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        (state, tangents), states = jax.lax.scan(push, carry, length=every)
        basis, triangle = jnp.linalg.qr(tangents)
        return (state, basis), (jnp.log(jnp.abs(jnp.diagonal(triangle))), states)

    # Not the axes: on a map that decouples they would stay where they are, growing or not.
    angles = jnp.outer(jnp.arange(1, n + 1), jnp.arange(1, count + 1)).astype(state.dtype)
    start = (state, jnp.linalg.qr(jnp.cos(angles))[0])
    if discard:
        start, _ = jax.lax.scan(lambda c, _: (block(c, None)[0], None), start, length=discard // every)
    _, (growth, states) = jax.lax.scan(block, start, length=length // every)
    return Lyapunov(growth.mean(0) / every, states.reshape(length, n))
