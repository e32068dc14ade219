"""How far the long-run behaviour of a model is from that of the system it imitates."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def occupation(
    states: Float[Array, "time n"], *, bins: int = 20, limit: float = 3.0, pseudo_count: float = 0.0
) -> Float[Array, " cells"]:
    """Share of time that an orbit spends in each of binsⁿ equal cells of [-limit, limit]ⁿ, and outside.

    The last of the binsⁿ + 1 numbers is the share outside, where states that are not finite belong too.
    """
    n = states.shape[1]
    cell = jnp.floor((states + limit) * (bins / (2 * limit)))
    inside = jnp.all((cell >= 0) & (cell < bins), axis=1)
    place = jnp.where(inside[:, None], cell, 0).astype(jnp.int32)
    index = jnp.where(inside, place @ (bins ** jnp.arange(n)), bins**n)
    counts = jnp.zeros(bins**n + 1, states.dtype).at[index].add(1.0) + pseudo_count
    return counts / counts.sum()


def state_space_divergence(
    true: Float[Array, "time n"],
    generated: Float[Array, "steps n"],
    *,
    bins: int = 20,
    limit: float = 3.0,
    pseudo_count: float = 1e-3,
) -> Float[Array, ""]:
    """KL(true ‖ generated) of two orbits' occupation of the state space, D_stsp, nats.

    Compares invariant measures, not trajectories: 0 for the same visits in any order. Generalized Teacher Forcing
    for Learning Chaotic Dynamics (2023), eq. 10 and appendix; Brenner et al. (2022). Two departures
    from their histogram: what lies outside the grid is counted in a cell of its own instead of dropped, so
    that a model which escapes is far away; and a pseudo-count keeps empty cells finite.

    **Arguments:**

    - `true`, `generated`: orbits in the same coordinates, of any length.
    - `bins`: cells an axis. `limit`: half the width of the grid, in the units of the states.
    - `pseudo_count`: added to every cell of both histograms.
    """
    p = occupation(true, bins=bins, limit=limit, pseudo_count=pseudo_count)
    q = occupation(generated, bins=bins, limit=limit, pseudo_count=pseudo_count)
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)))
