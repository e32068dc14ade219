"""Accuracy and cross-entropy of classifiers."""

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int


def accuracy(logits: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]) -> Float[Array, ""]:
    """The share of examples whose largest logit is their label's, 0 to 1."""
    return jnp.mean(jnp.argmax(logits, -1) == labels)


def cross_entropy(logits: Float[Array, "*batch classes"], labels: Int[Array, "*batch"]) -> Float[Array, ""]:
    """The mean of -log softmax(logits)[label], in nats."""
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
