"""Switching hidden units of a multilayer perceptron off."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from armillary.nn.mlp import MLP


def norm_order(network: MLP) -> Int[Array, " hidden"]:
    """The places of the last hidden layer's units by falling length of the weights that leave them."""
    return jnp.argsort(-jnp.linalg.norm(network.weights[-1], axis=-1))


def truncate_hidden(
    network: MLP,
    keep: int | Int[Array, ""],
    order: Int[Array, " hidden"] | None = None,
    *,
    mean: Float[Array, " hidden"] | None = None,
) -> MLP:
    """Switch off all but `keep` units of the last hidden layer by clearing the weights that leave them.

    Emami & Martínez-Muñoz, "Sequential Training of Neural Networks with Gradient Boosting" (2023), which
    switches off the units trained last.

    **Arguments:**

    - `network`: an `MLP` with biases.
    - `keep`: how many units; may be traced, so that a whole curve is one `vmap`.
    - `order`: the units' places, those to keep in front; as they stand by default.
    - `mean`: the units' mean activations. With it, a unit that is switched off goes on sending its mean,
      through the output bias; without it, nothing.

    **Returns:** a network of the same shapes, whose dead units may be cut out without any change.
    """
    outgoing = network.weights[-1]
    places = jnp.arange(len(outgoing))
    rank = places if order is None else jnp.zeros_like(places).at[order].set(places)
    kept = jnp.where((rank < keep)[:, None], outgoing, 0.0)
    network = eqx.tree_at(lambda m: m.weights[-1], network, kept)
    if mean is None:
        return network
    return eqx.tree_at(lambda m: m.biases[-1], network, replace_fn=lambda b: b + mean @ (outgoing - kept))
