"""Playing against losses that come one after another, and regret."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float


def regret(
    plays: Float[Array, "*batch rounds actions"], losses: Float[Array, "*batch rounds actions"]
) -> Float[Array, "*batch"]:
    """Σ ⟨πₜ, ℓₜ⟩ less the loss of the best single action in hindsight."""
    return jnp.sum(plays * losses, (-2, -1)) - jnp.min(jnp.sum(losses, -2), -1)


def project_simplex(x: Float[Array, "*batch actions"]) -> Float[Array, "*batch actions"]:
    """The nearest mixture of actions, by Optax."""
    flat = x.reshape(-1, x.shape[-1])
    return jax.vmap(optax.projections.projection_simplex)(flat).reshape(x.shape)


def past(x: Float[Array, "*batch rounds actions"]) -> Float[Array, "*batch rounds actions"]:
    """Sums over all rounds before each."""
    return jnp.cumsum(x, -2) - x


def follow_regularized_leader(
    losses: Float[Array, "*batch rounds actions"], step: float | Float[Array, ""]
) -> Float[Array, "*batch rounds actions"]:
    """πₜ = Proj(1/actions − step · Σ of the losses before): the leader, held back by ‖π‖²/(2 step).

    Its regret is at most 1/(2 step) + step/2 · Σ‖ℓₜ‖² (Shalev-Shwartz 2012, "Online Learning and Online Convex
    Optimization", theorem 2.11).
    """
    return project_simplex(1 / losses.shape[-1] - step * past(losses))


def follow_leader(losses: Float[Array, "*batch rounds actions"]) -> Float[Array, "*batch rounds actions"]:
    """The action of least loss so far, all alike in the first round; the first one of a tie."""
    best = jax.nn.one_hot(jnp.argmin(past(losses), -1), losses.shape[-1])
    return best.at[..., 0, :].set(1 / losses.shape[-1])


def regret_loss(
    policy: Callable[[Float[Array, "batch rounds actions"]], Float[Array, "batch rounds actions"]],
    losses: Float[Array, "batch rounds actions"],
    link: Callable[[Array], Array] = jax.nn.softplus,
) -> Float[Array, ""]:
    """The mean of link(regret): an objective without labels, whose minimizers play online.

    "Do LLM Agents Have Regret? A Case Study in Online Learning and Games" (2024), eq. 5.1.

    **Arguments:**

    - `policy`: plays for all rounds, each from the losses before it.
    - `losses`: random sequences.
    - `link`: increasing.
    """
    return jnp.mean(link(regret(policy(losses), losses)))
