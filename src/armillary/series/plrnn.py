"""The shallow piecewise-linear recurrent network."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


class ShallowPLRNN(eqx.Module):
    """One step F(z) = A z + W₁ relu(W₂ z + h₂) + h₁ of a recurrent network with a diagonal A.

    Generalized Teacher Forcing for Learning Chaotic Dynamics (2023), eq. 2. Piecewise linear, so its Jacobian
    A + W₁ diag(W₂ z + h₂ > 0) W₂ is explicit, and its fixed points are those of linear maps.
    """

    diagonal: Float[Array, " n"]
    out: Float[Array, "n hidden"]
    into: Float[Array, "hidden n"]
    bias: Float[Array, " n"]
    threshold: Float[Array, " hidden"]

    def __init__(self, n: int, hidden: int, key: Key[Array, ""]):
        """`n` states and `hidden` units; weights uniform in ±1/√inputs, A from a positive definite matrix of norm 1."""
        a, b, c, d = jax.random.split(key, 4)
        root = jax.random.normal(a, (n, n))
        positive = root.T @ root / n + jnp.eye(n)
        self.diagonal = jnp.diagonal(positive) / jnp.linalg.norm(positive, ord=2)
        self.out = jax.random.uniform(b, (n, hidden), minval=-1, maxval=1) / hidden**0.5
        self.into = jax.random.uniform(c, (hidden, n), minval=-1, maxval=1) / n**0.5
        self.bias = jnp.zeros(n)
        self.threshold = jax.random.uniform(d, (hidden,), minval=-1, maxval=1) / n**0.5

    def __call__(self, state: Float[Array, " n"]) -> Float[Array, " n"]:
        """The next state."""
        drive = jax.nn.relu(self.into @ state + self.threshold)
        return self.diagonal * state + self.out @ drive + self.bias

    def jacobian(self, state: Float[Array, " n"]) -> Float[Array, "n n"]:
        """∂F/∂z, exact away from the kinks."""
        active = (self.into @ state + self.threshold > 0).astype(state.dtype)
        return jnp.diag(self.diagonal) + (self.out * active) @ self.into
