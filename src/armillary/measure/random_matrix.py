"""Spectra of random inputs, and what they make of training a linear model on them."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class MarchenkoPastur(NamedTuple):
    """A quadrature: E f(λ) = Σ weight · f(value) + zeros · f(0)."""

    value: Float[Array, " nodes"]
    """Eigenvalues in the bulk, between (1 - 1/√α)² and (1 + 1/√α)²."""
    weight: Float[Array, " nodes"]
    """Their probabilities; they sum to min(1, α)."""
    zeros: Float[Array, ""]
    """The share of eigenvalues that are exactly 0: 1 - α where there are fewer examples than inputs."""


def marchenko_pastur(alpha: float | Float[Array, ""], nodes: int = 2000) -> MarchenkoPastur:
    """The limiting spectrum of XᵀX/P for P = αN examples of N independent inputs of variance 1.

    **Arguments:**

    - `alpha`: examples per input, positive; may be traced.
    - `nodes`: of the quadrature, at equal angles: exact for polynomials up to degree 2·nodes - 3 times the density's
      1/λ, and good to 1e-6 at α = 1 for functions that vary over λ ≥ 1e-4 with 2,000.
    """
    angle = (jnp.arange(nodes) + 0.5) * (jnp.pi / nodes)
    radius = 2 / jnp.sqrt(alpha)
    value = 1 + 1 / alpha + radius * jnp.cos(angle)
    # Density α √((λ₊ - λ)(λ - λ₋)) / 2πλ; with λ at the angle, √(…) dλ = radius² sin² d(angle).
    weight = alpha * radius**2 * jnp.sin(angle) ** 2 / (2 * nodes * value)
    return MarchenkoPastur(value, weight, jnp.maximum(0.0, 1 - alpha))


def linear_generalization_curve(
    time: Float[Array, " times"],
    alpha: float | Float[Array, ""],
    *,
    noise: float | Float[Array, ""] = 0.0,
    start: float | Float[Array, ""] = 0.0,
    nodes: int = 2000,
) -> Float[Array, " times"]:
    """The test error of a linear student of a noisy linear teacher under gradient flow, for many inputs.

    E(t) = ⟨(1 + start) exp(-2λt) + noise (1 - exp(-λt))² / (αλ)⟩ + noise, over the Marchenko-Pastur spectrum, its
    zeros included: "High-dimensional dynamics of generalization error in neural networks" (2017), eq. 9.

    **Arguments:**

    - `time`: steps times the learning rate on half the mean squared error, for inputs of variance 1.
    - `alpha`: examples per input.
    - `noise`: variance of the labels' noise; the teacher's output has variance 1. It is in the test labels too.
    - `start`: variance of the student's output before training.
    - `nodes`: of the quadrature.
    """
    spectrum = marchenko_pastur(alpha, nodes)
    rate_time = time[:, None] * spectrum.value
    learnt = -jnp.expm1(-rate_time)
    error = (1 + start) * (1 - learnt) ** 2 + noise * learnt**2 / (alpha * spectrum.value)
    return error @ spectrum.weight + (1 + start) * spectrum.zeros + noise
