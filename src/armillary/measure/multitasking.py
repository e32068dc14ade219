"""What a Hopfield network with few diluted patterns retrieves, for infinitely many units."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def hierarchical_magnetizations(dilution: float | Float[Array, ""], count: int) -> Float[Array, " patterns"]:
    """(1 - d) d^(k-1): every pattern is retrieved where all before it are blank.

    Stable at zero temperature while the first exceeds the sum of the others, 1 - 2d + d^K > 0 for K patterns: "Parallel
    Learning by Multitasking Neural Networks" (2023).
    """
    return (1 - dilution) * dilution ** jnp.arange(count)


def majority_magnetizations(dilution: float | Float[Array, ""]) -> Float[Array, "3"]:
    """Three patterns beyond that border: where all three are at odds, two outvote the first.

    Conflicts of two still go to the earlier pattern. Each loses or gains half of (1 - d)³ against the hierarchical law, the
    share of units in which no pattern is blank.
    """
    p, d = 1 - dilution, dilution
    return p * jnp.stack([d**2 + 2 * p * d + p**2 / 2, d**2 + p * d + p**2 / 2, d**2 + p**2 / 2])


def multitasking_magnetizations(
    dilution: float | Float[Array, ""],
    start: Float[Array, " patterns"],
    *,
    temperature: float | Float[Array, ""] = 0.0,
    steps: int = 100,
) -> Float[Array, " patterns"]:
    """Where parallel dynamics takes the overlaps: m_k ← E ξ_k tanh(Σⱼ mⱼξⱼ / T), over all values of (ξ₁, …, ξ_K).

    **Arguments:**

    - `dilution`: d, the probability of a blank; may be traced, as may the temperature.
    - `start`: the overlaps before the first step.
    - `temperature`: T; at 0 tanh is the sign.
    - `steps`: how many.
    """
    values = jnp.array(np.array(list(itertools.product((-1.0, 0.0, 1.0), repeat=len(start)))), start.dtype)
    weights = jnp.prod(jnp.where(values == 0, dilution, (1 - dilution) / 2), 1)

    def step(m: Array, _: None) -> tuple[Array, None]:
        field = values @ m
        warm = jnp.tanh(field / jnp.where(temperature > 0, temperature, 1))
        return (weights * jnp.where(temperature > 0, warm, jnp.sign(field))) @ values, None

    return jax.lax.scan(step, start, length=steps)[0]
