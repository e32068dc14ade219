"""How deep linear networks learn: each singular mode of the task along a known curve.

Source: "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2013).
"""

from typing import Any

import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Float


def mode_strengths(
    matrix: Float[Array, "out into"], u: Float[Array, "out modes"], v: Float[Array, "into modes"]
) -> Float[Array, " modes"]:
    """u_iᵀ A v_i: how much of each mode a linear map does; the singular values, where u and v are its own vectors."""
    return jnp.sum(u * (matrix @ v), 0)


def mode_curve(
    time: Float[Array, " times"],
    target: Float[Array, " modes"],
    start: Float[Array, " modes"],
    *,
    tau: float | Float[Array, ""] = 1.0,
    layers: int = 2,
) -> Float[Array, "times modes"]:
    """The strength a(t) of each mode of a deep linear network with whitened inputs, under gradient flow.

    τ da/dt = L a^(2 - 2/L) (s - a), for balanced layers aligned with the task's modes (eqs. 9 and 14, with L weight
    matrices): a relaxation for one, the sigmoid s / (1 + (s/a₀ - 1) exp(-2st/τ)) for two, solved for more.

    **Arguments:**

    - `time`: when, increasing, from 0 on.
    - `target`: s, the singular values of the inputs' correlation with the targets.
    - `start`: a₀, positive.
    - `tau`: time per unit of learning rate: 1/η for steps of full-batch descent at rate η on half the squared error.
    - `layers`: L, the number of weight matrices.

    **Raises:** `ValueError` if `layers` is below 1.
    """
    if layers < 1:
        raise ValueError(f"layers={layers}: a network has at least one weight matrix")
    t = time[:, None] / tau
    if layers == 1:
        return target - (target - start) * jnp.exp(-t)
    if layers == 2:
        return target / (1 + (target / start - 1) * jnp.exp(-2 * target * t))

    # In one layer's weight b = a^(1/L) the flow is smooth at 0: τ db/dt = b^(L-1) (s - b^L).
    def flow(_: Any, b: Array, __: None) -> Array:
        return b ** (layers - 1) * (target - b**layers)

    found = diffrax.diffeqsolve(
        diffrax.ODETerm(flow),
        diffrax.Tsit5(),
        t0=0.0,
        t1=t[-1, 0],
        dt0=None,
        y0=start ** (1 / layers),
        saveat=diffrax.SaveAt(ts=t[:, 0]),
        stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-7),
        max_steps=100_000,
    )
    assert found.ys is not None
    return found.ys**layers


def growing_start(
    first: Float[Array, "hidden into"],
    second: Float[Array, "out hidden"],
    u: Float[Array, "out modes"],
    v: Float[Array, "into modes"],
) -> Float[Array, " modes"]:
    """‖W₂ᵀu + W₁v‖²/4: the a₀ of a two-layer network's modes that a small random start amounts to.

    While the network is small, W₂ᵀu + W₁v grows as exp(st/τ) and W₂ᵀu - W₁v decays: what is left of the start is
    balanced, both layers equal to half of the sum.
    """
    return jnp.sum((second.T @ u + first @ v) ** 2, 0) / 4
