"""Representations learned from inputs alone: a linear factor model by maximum likelihood."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import eigh


class FactorModel(eqx.Module):
    """x = μ + B z + noise with z ~ N(0, I) and equal noise in all directions: probabilistic PCA."""

    mean: Float[Array, " inputs"]
    loadings: Float[Array, "inputs factors"]
    """B, up to a rotation of the factors."""
    noise: Float[Array, ""]
    """The noise's variance, per input."""

    @property
    def readout(self) -> Float[Array, "factors inputs"]:
        """What maps x − μ to the posterior mean of z: (BᵀB + σ²I)⁻¹ Bᵀ, where BᵀB is diagonal."""
        scale = jnp.sum(self.loadings**2, axis=0) + self.noise
        return (self.loadings / scale).T

    def __call__(self, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch factors"]:
        """The posterior mean of the factors."""
        return (x - self.mean) @ self.readout.T


def pretrain_factor_model(x: Float[Array, "examples inputs"], factors: int) -> FactorModel:
    """The maximum-likelihood factor model of the inputs, in closed form.

    The largest eigenvalues λ of the covariance give B = U (λ − σ²)^½ with their eigenvectors U, and σ² is the mean of the
    others. Tipping and Bishop 1999, "Probabilistic Principal Component Analysis", eqs. 14 and 15; as pretraining, "On
    the Provable Advantage of Unsupervised Pretraining" (2023), section 4.

    **Raises:** `ValueError` unless 0 < factors < inputs.
    """
    inputs = x.shape[1]
    if not 0 < factors < inputs:
        raise ValueError(f"factors={factors} must lie between 1 and {inputs - 1}, one less than the inputs")
    mean = jnp.mean(x, axis=0)
    values, vectors = eigh((x - mean).T @ (x - mean) / len(x))
    noise = jnp.mean(values[:-factors])
    top = jnp.maximum(values[-factors:] - noise, 0.0)
    return FactorModel(mean, vectors[:, -factors:] * jnp.sqrt(top), noise)
