"""Hopfield networks: memories as fixed points, run through the overlaps with what they store."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class HopfieldNetwork(eqx.Module):
    """Units ±1 with couplings J = (1/N) Σ_p strength_p ξ_p ξ_pᵀ, of which no matrix is made.

    A unit's coupling to itself is left in; it is of the order of patterns/N. "Neural networks and physical systems with
    emergent collective computational abilities" (Hopfield 1982); patterns with blanks (zeros) as in "Parallel Learning by
    Multitasking Neural Networks" (2023).
    """

    patterns: Float[Array, "patterns units"]
    """ξ, a row a pattern, entries -1, 0 (blank) and 1; or averages of such."""
    strength: Float[Array, " patterns"]
    """How much each counts."""

    @classmethod
    def hebbian(cls, patterns: Float[Array, "patterns units"]) -> "HopfieldNetwork":
        """Stores the patterns themselves."""
        return cls(patterns, jnp.ones(len(patterns)))

    @classmethod
    def supervised(
        cls, examples: Float[Array, "patterns examples units"], count: float | Array
    ) -> "HopfieldNetwork":
        """Stores the average of each pattern's first `count` examples: a teacher says which belong together."""
        counted = jnp.arange(examples.shape[1]) < count
        return cls.hebbian(jnp.einsum("pei,e->pi", examples, counted / count))

    @classmethod
    def unsupervised(
        cls, examples: Float[Array, "patterns examples units"], count: float | Array
    ) -> "HopfieldNetwork":
        """Stores each of the patterns' first `count` examples, every one `count` times weaker."""
        counted = jnp.arange(examples.shape[1]) < count
        return cls(examples.reshape(-1, examples.shape[2]), jnp.tile(counted / count, len(examples)))

    def overlaps(self, state: Float[Array, " units"]) -> Float[Array, " patterns"]:
        """(1/N) ξ·σ with each stored pattern; at most the share of a pattern that is not blank."""
        return self.patterns @ state / len(state)

    def step(
        self,
        state: Float[Array, " units"],
        *,
        temperature: float | Array = 0.0,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, " units"]:
        """All units at once: to the sign of their field, where it is 0 as before; or, given a key, at random (Glauber)."""
        field = (self.strength * self.overlaps(state)) @ self.patterns
        if key is None:
            return jnp.where(field == 0, state, jnp.sign(field))
        up = 2 * field / temperature + jax.random.logistic(key, field.shape) > 0
        return jnp.where(up, 1.0, -1.0)
