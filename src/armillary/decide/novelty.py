"""Novelty: how far a behaviour is from those that were seen."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


class Archive(NamedTuple):
    """Behaviours that are kept; the first `filled` rows are filled."""

    behaviours: Float[Array, "capacity features"]
    filled: Int[Array, ""]


def empty_archive(capacity: int, features: int) -> Archive:
    """An archive with nothing in it."""
    return Archive(jnp.zeros((capacity, features)), jnp.array(0))


def novelty(
    behaviours: Float[Array, "population features"], archive: Archive, k: int
) -> Float[Array, " population"]:
    """The mean distance of each behaviour to its `k` nearest among the others and the archive.

    Lehman & Stanley, "Abandoning objectives: evolution through the search for novelty alone" (2011), equation 1.
    With fewer than `k` others and archived behaviours, infinite.
    """
    kept = jnp.arange(len(archive.behaviours)) < archive.filled
    others = jnp.concatenate([behaviours, archive.behaviours])
    distance = jnp.linalg.norm(behaviours[:, None] - others, axis=-1)
    itself = jnp.eye(len(behaviours), len(others), dtype=bool)
    absent = itself | ~jnp.concatenate([jnp.ones(len(behaviours), bool), kept])
    nearest = -jax.lax.top_k(-jnp.where(absent, jnp.inf, distance), k)[0]
    return nearest.mean(-1)


def remember(
    archive: Archive,
    behaviours: Float[Array, "population features"],
    key: Key[Array, ""],
    share: float | Float[Array, ""],
) -> Archive:
    """The archive with each behaviour added with probability `share`; when it is full, they are lost."""
    joins = jax.random.bernoulli(key, share, (len(behaviours),))
    capacity = len(archive.behaviours)
    place = jnp.where(joins, archive.filled + jnp.cumsum(joins) - 1, capacity)
    stored = archive.behaviours.at[place].set(behaviours, mode="drop")
    return Archive(stored, jnp.minimum(archive.filled + joins.sum(), capacity))
