"""Networks of binary weights, trained through the fields that bias them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def binary_perceptron_loss(
    fields: Float[Array, " weights"], x: Float[Array, "batch weights"], y: Float[Array, " batch"]
) -> Float[Array, ""]:
    """Mean of −ln P(the label is right), in nats, for a perceptron of random weights ±1 with the given fields.

    A weight is +1 with probability 1/(1 + exp(−2h)): its mean is tanh h, its variance 1 − tanh² h. By the central
    limit theorem w·x/√N is then a Gaussian, and P = Φ(y · mean / standard deviation): the local reparametrization in
    closed form, nothing is sampled.

    "Statistical mechanics of continual learning: variational principle and mean-field potential" (2022), section II.

    **Arguments:**

    - `fields`: h, at inverse temperature 1.
    - `x`: inputs.
    - `y`: labels ±1.
    """
    mean = jnp.tanh(fields)
    deviation = jnp.sqrt(x**2 @ (1 - mean**2) + 1e-12)
    return -jnp.mean(jax.scipy.stats.norm.logcdf(y * (x @ mean) / deviation))


def binary_divergence(fields: Float[Array, " weights"], prior: Float[Array, " weights"]) -> Float[Array, ""]:
    """KL(q ‖ p) of independent weights ±1 with these fields from those with the prior's, in nats, summed.

    In continual learning the prior's are the fields after the previous task: weights of which it was sure are stiff,
    the others free. A prior of zeros prefers no weight to another. "Statistical mechanics of continual learning…"
    (2022), eq. 7.
    """
    log_two_cosh = lambda h: jnp.logaddexp(h, -h)
    return jnp.sum(jnp.tanh(fields) * (fields - prior) - log_two_cosh(fields) + log_two_cosh(prior))
