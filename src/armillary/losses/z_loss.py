"""The z-loss, which holds a classifier's log-partition function near zero."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def z_loss(logits: Float[Array, "*batch classes"], coefficient: float | Float[Array, ""]) -> Float[Array, ""]:
    """`coefficient` times the mean of (log Z)², Z = Σ exp(logits): added to the cross-entropy, in nats².

    "Small-scale proxies for large-scale Transformer training instabilities" (2023), section 3.1.2; it keeps
    output logits from drifting away from log-probabilities, for which log Z = 0.
    """
    return coefficient * jnp.mean(jax.nn.logsumexp(logits, axis=-1) ** 2)
