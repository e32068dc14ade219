"""Loss and curvature along a straight line in parameter space, and the barrier that the curvature makes."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from armillary.measure.barrier import line_point
from armillary.measure.curvature import Model, Objective


class DirectionalCurvature(NamedTuple):
    """The loss along a direction Δ, at one point or at several: f(s) = L(θ + sΔ) and what it is made of."""

    loss: Array
    slope: Array
    """f' = Δᵀ∇L."""
    hessian: Array
    """f'' = ΔᵀHΔ."""
    gauss_newton: Array
    """The part of f'' that the objective's curvature makes, (JΔ)ᵀQ(JΔ); the rest is the network's own."""


def directional_curvature(
    model: Model, objective: Objective, params: PyTree, direction: PyTree, batch: PyTree
) -> DirectionalCurvature:
    """First and second derivative of a loss along a direction, by nested forward differentiation.

    With z(s) the outputs, f'' = z'ᵀQz' + ∇objective·z'': Gauss-Newton part and network's part. Not for
    networks with kinks (ReLU): the jumps of f' are not in f''.

    **Arguments:**

    - `model`: `(params, batch) -> outputs`.
    - `objective`: `(outputs, batch) -> scalar`.
    - `params`: a pytree; its inexact arrays are moved.
    - `direction`: a pytree like `params`; not normalized.
    - `batch`: handed on to both.
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    direction = eqx.filter(direction, eqx.is_inexact_array)
    outputs = lambda a: model(eqx.combine(a, rest), batch)
    first = lambda a: jax.jvp(outputs, (a,), (direction,))
    (out, velocity), (_, acceleration) = jax.jvp(first, (arrays,), (direction,))
    measured = lambda o: objective(o, batch)
    along = lambda o: jax.jvp(measured, (o,), (velocity,))
    (loss, slope), (_, gauss_newton) = jax.jvp(along, (out,), (velocity,))
    own = jax.jvp(measured, (out,), (acceleration,))[1]
    return DirectionalCurvature(loss, slope, gauss_newton + own, gauss_newton)


def path_curvature(
    model: Model, objective: Objective, a: PyTree, b: PyTree, batch: PyTree, *, points: int = 33
) -> DirectionalCurvature:
    """Loss and curvature at evenly spaced points of the straight line from `a` to `b`, both ends included.

    The direction is b - a, so that derivatives are in units of the position, which runs from 0 to 1.

    **Arguments:** as for [`directional_curvature`][armillary.measure.directional_curvature]; fields of the
    result have shape [points].
    """
    arrays = lambda tree: eqx.filter(tree, eqx.is_inexact_array)
    direction = jax.tree.map(jnp.subtract, arrays(b), arrays(a))
    at = lambda t: directional_curvature(model, objective, line_point(a, b, t), direction, batch)
    return jax.lax.map(at, jnp.linspace(0, 1, points))


def green_function(position: Float[Array, ""] | float, s: Float[Array, " points"]) -> Float[Array, " points"]:
    """G(a, s) = min(a, s)(1 - max(a, s)): the solution of -G'' = δ(s - a) that vanishes at 0 and 1."""
    return jnp.minimum(position, s) * (1 - jnp.maximum(position, s))


def green_barrier(curvature: Float[Array, " points"]) -> Float[Array, ""]:
    """The height of the loss above its chord at the middle of a segment, from the curvature along it.

    With f the loss, f(½) - (f(0) + f(1))/2 = -∫ G(½, s) f''(s) ds exactly, if f' has no jumps ("Landscaping
    Linear Mode Connectivity", Singh et al. 2024, analyse the barrier to second order; this is Green's function of
    -d²/ds²). By Simpson's rule; exact for cubic f''. A constant curvature c gives -c/8.

    **Arguments:**

    - `curvature`: f'' at evenly spaced points from 0 to 1, in units of the position. A multiple of 4, plus 1,
      so that the kink of G in the middle lies between two panels.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.measure import green_barrier

    ridge = lambda s: jnp.sin(jnp.pi * s)  # a loss along a segment
    curvature = jax.vmap(jax.grad(jax.grad(ridge)))(jnp.linspace(0, 1, 33))
    green_barrier(curvature), ridge(0.5)  # the height at the middle, from the curvature alone
    ```
    """
    panels = curvature.shape[0] - 1
    if panels < 4 or panels % 4:
        raise ValueError(f"{panels + 1} points: Simpson's rule on either half needs a multiple of 4, plus 1")
    s = jnp.linspace(0, 1, panels + 1)
    simpson = jnp.where(jnp.arange(panels + 1) % 2, 4.0, 2.0).at[jnp.array([0, -1])].set(1.0) / (3 * panels)
    return -(simpson * green_function(0.5, s) * curvature).sum()
