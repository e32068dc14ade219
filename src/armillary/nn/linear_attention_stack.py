"""Several layers of linear self-attention on regression prompts, through the prompt's second moments.

The tokens (xᵢ, yᵢ) and a query (x_q, 0) are the columns of E, and a layer is E ← E + V E MEᵀ W E / n, where the
mask M leaves the queries out of the sum. The layers here have V = diag(C, c) and W = diag(A, 0): A compares
inputs, c moves the responses, C rewrites the inputs. An example's y-slot then holds what is left to explain, and a
query's minus its prediction. Both stay linear, so that S = XᵀX/n and b = Xᵀy/n are all that is read of the
examples. "Transformers learn in-context by gradient descent" (von Oswald et al. 2022, section 2 and appendix A.10).
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from armillary.nn.batch_last import batch_last_product as product


class LinearAttentionStack(eqx.Module):
    """Layers of linear self-attention with a prediction after each of them."""

    kernels: Float[Array, "layers dim dim"]
    """A: example i acts on token j with weight xᵢᵀ A xⱼ / n."""
    gains: Float[Array, " layers"]
    """c: the responses' part of the value matrix; -η in gradient descent."""
    rewrites: Float[Array, "layers dim dim"] | None = None
    """C: the inputs' part of the value matrix; -γI in GD++. None keeps the inputs as they are."""

    @classmethod
    def random(
        cls,
        layers: int,
        dim: int,
        key: Key[Array, ""],
        *,
        scale: float | Float[Array, ""] = 0.3,
        rewrite_inputs: bool = True,
    ) -> "LinearAttentionStack":
        """Every weight is drawn from N(0, `scale`²/dim).

        Training of two layers and more has several minima, and the start decides which is found.
        """
        size = layers * dim * dim
        weights = scale / dim**0.5 * jax.random.normal(key, (2 * size + layers,))
        kernels, rewrites, gains = jnp.split(weights, [size, 2 * size])
        shape = (layers, dim, dim)
        return cls(kernels.reshape(shape), gains, rewrites.reshape(shape) if rewrite_inputs else None)

    @classmethod
    def from_gradient_descent(
        cls,
        dim: int,
        rates: Float[Array, " layers"],
        curvatures: Float[Array, " layers"] | None = None,
    ) -> "LinearAttentionStack":
        """The stack that takes a step of gradient descent in every layer, or of GD++.

        Von Oswald et al. 2022, proposition 1 and eq. 10.

        **Arguments:**

        - `dim`: of the inputs.
        - `rates`: the step sizes η, one a layer.
        - `curvatures`: GD++'s γ, one a layer; without them inputs are kept.

        **Returns:** a stack whose layers predict as
        [`gradient_descent`][armillary.measure.gradient_descent] after 1, 2, … steps.
        """
        identity = jnp.eye(dim)
        kernels = jnp.broadcast_to(identity, (len(rates), dim, dim))
        rewrites = None if curvatures is None else -curvatures[:, None, None] * identity
        return cls(kernels, -rates, rewrites)

    def weights(
        self, second_moment: Float[Array, "*batch dim dim"], correlation: Float[Array, "*batch dim"]
    ) -> Float[Array, "layers *batch dim"]:
        """w in the prediction w·x_q of every layer, which is its gradient in the query too.

        **Arguments:**

        - `second_moment`, `correlation`: S = XᵀX/n and b = Xᵀy/n of a prompt, or of a batch of them.
        """
        return self._read(second_moment, correlation[..., None, :])[..., 0, :]

    def residual_maps(
        self, second_moment: Float[Array, "*batch dim dim"]
    ) -> Float[Array, "layers *batch dim dim"]:
        """R in w - ŵ = R w, the error of every layer's weights on a prompt without noise, y = Xw.

        Their [`residual_risk`][armillary.measure.residual_risk] is exact in the weights w and the queries, so that
        nothing but S has to be sampled to train on it.
        """
        found = self._read(second_moment, second_moment)
        return jnp.eye(second_moment.shape[-1], dtype=found.dtype) - jnp.swapaxes(found, -1, -2)

    def layers(
        self,
        x: Float[Array, "*batch length dim"],
        y: Float[Array, "*batch length"],
        query: Float[Array, "*batch queries dim"],
    ) -> Float[Array, "layers *batch queries"]:
        """Every layer's predictions at the queries of a prompt, or of a batch of prompts."""
        second_moment = jnp.swapaxes(x, -1, -2) @ x / x.shape[-2]
        correlation = jnp.sum(x * y[..., None], -2) / x.shape[-2]
        return jnp.sum(self.weights(second_moment, correlation)[..., None, :] * query, -1)

    def __call__(
        self,
        x: Float[Array, "*batch length dim"],
        y: Float[Array, "*batch length"],
        query: Float[Array, "*batch queries dim"],
    ) -> Float[Array, "*batch queries"]:
        """The last layer's predictions at the queries of a prompt, or of a batch of prompts."""
        return self.layers(x, y, query)[-1]

    def _read(self, second_moment: Array, correlations: Array) -> Array:
        """The weights for several responses to the same inputs: (*batch, k, dim) to (layers, *batch, k, dim)."""
        *batch, dim, _ = second_moment.shape
        last = lambda a: jnp.moveaxis(a.reshape(-1, *a.shape[-2:]), 0, -1)
        moment, target = (
            last(second_moment),
            last(jnp.broadcast_to(correlations, (*batch, *correlations.shape[-2:]))),
        )
        inputs = jnp.broadcast_to(jnp.eye(dim, dtype=moment.dtype)[..., None], moment.shape)  # x is now P x
        weights, found = jnp.zeros_like(target), []
        for layer, (kernel, gain) in enumerate(zip(self.kernels, self.gains)):
            seen = product(moment, jnp.swapaxes(inputs, 0, 1))  # S Pᵀ
            compared = _times(kernel, inputs)  # A P
            left = product(target, jnp.swapaxes(inputs, 0, 1)) - product(weights, seen)  # (b - S w)ᵀ Pᵀ
            weights = weights - gain * product(left, compared)
            found.append(weights)
            if self.rewrites is not None:
                inputs = inputs + _times(self.rewrites[layer], product(product(inputs, seen), compared))
        return jnp.moveaxis(jnp.stack(found), -1, 1).reshape(len(found), *batch, *target.shape[:-1])


def _times(matrix: Float[Array, "i j"], b: Float[Array, "j k batch"]) -> Float[Array, "i k batch"]:
    return (matrix @ b.reshape(len(b), -1)).reshape(len(matrix), *b.shape[1:])
