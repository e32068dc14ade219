"""Signs of trouble in a transformer: attention logits that grow, output logits that drift."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def largest_logit(logits: Float[Array, "*batch positions positions"]) -> Float[Array, ""]:
    """The largest absolute attention logit that the causal mask lets through."""
    mask = jnp.tril(jnp.ones(logits.shape[-2:], bool))
    return jnp.max(jnp.abs(logits), where=mask, initial=0.0)


def log_z_drift(logits: Float[Array, "*batch vocabulary"]) -> Float[Array, ""]:
    """|mean log Z|, Z = Σ exp(output logits), in nats: 0 where the logits are log-probabilities."""
    return jnp.abs(jnp.mean(jax.nn.logsumexp(logits, axis=-1)))


class PowerLaw(NamedTuple):
    """y = scale · x^slope."""

    slope: Float[Array, "*batch"]
    scale: Float[Array, "*batch"]

    def crossing(self, bound: float) -> Float[Array, "*batch"]:
        """The x at which y reaches `bound`: the learning rate, or the size, at which to expect trouble."""
        return (bound / self.scale) ** (1 / self.slope)


def power_law(x: Float[Array, " points"], y: Float[Array, "*batch points"]) -> PowerLaw:
    """The least-squares line of log y on log x.

    "Small-scale proxies for large-scale Transformer training instabilities" (2023), section 3.3, predicts the
    instability of a larger model from how the largest attention logit scales in smaller ones.

    **Arguments:**

    - `x`: learning rates or sizes, positive.
    - `y`: largest logits, positive.

    **Example:**

    ```python
    import jax.numpy as jnp
    from armillary.measure import power_law

    rates, largest_logits = jnp.array([0.003, 0.01, 0.03]), jnp.array([2.0, 9.0, 40.0])
    law = power_law(rates, largest_logits)
    law.slope, law.crossing(1e4)  # the rate at which logits will reach 10,000
    ```
    """
    u, v = jnp.log(jnp.asarray(x)), jnp.log(jnp.asarray(y))
    centred = u - u.mean()
    slope = (v @ centred) / (centred @ centred)
    return PowerLaw(slope, jnp.exp(v.mean(-1) - slope * u.mean()))
