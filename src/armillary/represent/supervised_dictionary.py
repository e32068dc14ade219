"""A dictionary that reconstructs inputs and predicts their labels."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Key

from armillary.train.fit import fit


class SupervisedDictionary(eqx.Module):
    """Directions of the inputs, and a logistic regression on the inputs' components along them and on covariates."""

    directions: Float[Array, "inputs rank"]
    weights: Float[Array, " rank"]
    covariate_weights: Float[Array, " covariates"]

    def orthonormal(self) -> Float[Array, "inputs rank"]:
        """The directions' span, by Gram and Schmidt."""
        basis: list[Array] = []
        for direction in self.directions.T:
            for b in basis:
                direction = direction - b * (b @ direction)
            basis.append(direction / jnp.linalg.norm(direction))
        return jnp.stack(basis, 1)

    def __call__(
        self, x: Float[Array, "*batch inputs"], covariates: Float[Array, "*batch covariates"]
    ) -> Float[Array, " *batch"]:
        """The logit of label 1."""
        return x @ self.orthonormal() @ self.weights + covariates @ self.covariate_weights


def fit_supervised_dictionary(
    key: Key[Array, ""],
    x: Float[Array, "examples inputs"],
    labels: Float[Array, " examples"],
    covariates: Float[Array, "examples covariates"],
    *,
    rank: int,
    xi: float | Float[Array, ""],
    ridge: float | Float[Array, ""] = 1e-3,
    steps: int = 500,
    rate: float = 0.05,
) -> SupervisedDictionary:
    """Minimize mean logistic loss + ξ · mean ‖x − its projection‖² + ridge · squared weights, by Adam.

    "Supervised Dictionary Learning with Auxiliary Covariates" (2022), the filter form, eq. 2: the best codes for given
    directions are the projection, so that these alone are left to learn. A large ξ gives principal components and a
    logistic regression on them, ξ = 0 a logistic regression on all inputs.

    **Arguments:**

    - `x`: centred.
    - `labels`: 0 or 1.
    - `covariates`: not reconstructed; a column of ones is an intercept.
    - `rank`: how many directions.
    """
    inputs, k = x.shape[1], covariates.shape[1]
    start = SupervisedDictionary(jax.random.normal(key, (inputs, rank)), jnp.zeros(rank), jnp.zeros(k))

    def loss(model: SupervisedDictionary, data: tuple[Array, Array, Array]) -> Array:
        x, labels, covariates = data
        basis = model.orthonormal()
        codes = x @ basis
        logits = codes @ model.weights + covariates @ model.covariate_weights
        left = (jnp.sum(x**2) - jnp.sum(codes**2)) / len(x)
        penalty = jnp.sum(model.weights**2) + jnp.sum(model.covariate_weights**2)
        return jnp.mean(jax.nn.softplus(logits) - labels * logits) + xi * left + ridge * penalty

    optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
    return fit(loss, start, (x, labels, covariates), optimizer, steps=steps, every=steps).params
