"""The average that attention takes, with a derivative that saturation does not round away."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


@jax.custom_jvp
def attention_average(
    logits: Float[Array, "*batch tokens"], values: Float[Array, "*batch tokens"]
) -> Float[Array, "*batch"]:
    """Σₜ softmax(logits)ₜ valuesₜ.

    Its derivative by a logit is pₜ Σᵤ pᵤ (valuesₜ - valuesᵤ), and is computed like that: with the usual pₜ (valuesₜ - Σᵤ
    pᵤ valuesᵤ) all that is left for the token that is attended to is rounding, once the others' shares pᵤ are below the
    machine's precision. Gradient descent has then stopped long before its direction has converged.
    """
    return jnp.sum(jax.nn.softmax(logits) * values, -1)


@attention_average.defjvp
def _(primals, tangents):  # type: ignore[no-untyped-def]
    (logits, values), (d_logits, d_values) = primals, tangents
    share = jax.nn.softmax(logits)
    slope = share * jnp.sum(share[..., None, :] * (values[..., :, None] - values[..., None, :]), -1)
    return jnp.sum(share * values, -1), jnp.sum(slope * d_logits, -1) + jnp.sum(share * d_values, -1)
