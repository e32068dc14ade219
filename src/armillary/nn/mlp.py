"""The multilayer perceptron."""

import itertools
from collections.abc import Callable, Sequence
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

Init = Literal["lecun", "he", "torch"]


class MLP(eqx.Module):
    """Affine layers with an activation between them; the last layer is affine.

    Works on one vector or on any batch of them: the layers act on the last axis.
    """

    weights: tuple[Float[Array, "into out"], ...]
    biases: tuple[Float[Array, " out"], ...] | None
    activation: Callable[[Array], Array] = eqx.field(static=True)

    def __init__(
        self,
        sizes: Sequence[int],
        key: Key[Array, ""],
        *,
        activation: Callable[[Array], Array] = jax.nn.relu,
        bias: bool = True,
        init: Init = "lecun",
    ):
        """**Arguments:**

        - `sizes`: inputs, hidden widths, outputs.
        - `key`: the initial weights' randomness.
        - `activation`: between the layers, elementwise.
        - `bias`: whether the layers have biases.
        - `init`: entries of a layer with n inputs: `lecun` N(0, 1/n), `he` N(0, 2/n), biases 0; `torch`
          uniform in ±1/√n, biases too (`torch.nn.Linear`'s default).
        """
        pairs = list(itertools.pairwise(sizes))
        keys = jax.random.split(key, (len(pairs), 2))
        if init == "torch":
            limit = [1 / into**0.5 for into, _ in pairs]
            weights = [
                jax.random.uniform(k[0], p, minval=-u, maxval=u) for k, p, u in zip(keys, pairs, limit)
            ]
            biases = [
                jax.random.uniform(k[1], p[1:], minval=-u, maxval=u) for k, p, u in zip(keys, pairs, limit)
            ]
        else:
            gain = {"lecun": 1.0, "he": 2.0}[init]
            weights = [jax.random.normal(k[0], p) * (gain / p[0]) ** 0.5 for k, p in zip(keys, pairs)]
            biases = [jnp.zeros(out) for _, out in pairs]
        self.weights = tuple(weights)
        self.biases = tuple(biases) if bias else None
        self.activation = activation

    def features(self, x: Float[Array, "*batch into"]) -> Float[Array, "*batch width"]:
        """The activations that the last layer reads."""
        biases: Sequence[Array | float] = self.biases or [0.0] * len(self.weights)
        for weight, bias in zip(self.weights[:-1], biases[:-1]):
            x = self.activation(x @ weight + bias)
        return x

    def __call__(self, x: Float[Array, "*batch into"]) -> Float[Array, "*batch out"]:
        """The network's outputs (logits, where it classifies)."""
        out = self.features(x) @ self.weights[-1]
        return out if self.biases is None else out + self.biases[-1]
