"""The affine layers of a multilayer perceptron, whichever library's."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, Float

from armillary.nn.mlp import MLP


def affine_weights(model: Any) -> list[Any]:
    """The weight matrices of an MLP, input side first, as they lie in the model (a selector for `eqx.tree_at`).

    **Arguments:**

    - `model`: an [`MLP`][armillary.nn.MLP] (matrices in × out) or an `equinox.nn.MLP` (out × in); or a pytree
      of that structure with other leaves.

    **Raises:** `TypeError` if it is neither.
    """
    if isinstance(model, MLP):
        return list(model.weights)
    if isinstance(model, eqx.nn.MLP):
        return [layer.weight for layer in model.layers]
    raise TypeError(f"{type(model).__name__} is no MLP: expected armillary.nn.MLP or equinox.nn.MLP")


def affine_biases(model: Any) -> list[Any]:
    """The biases of an MLP's layers, as [`affine_weights`][]; None for a layer without."""
    if isinstance(model, MLP):
        return list(model.biases or [None] * len(model.weights))
    if isinstance(model, eqx.nn.MLP):
        return [layer.bias for layer in model.layers]
    raise TypeError(f"{type(model).__name__} is no MLP: expected armillary.nn.MLP or equinox.nn.MLP")


def affine_sizes(model: Any) -> list[int]:
    """Inputs, hidden widths and outputs of an MLP."""
    inward = slice(None) if isinstance(model, MLP) else slice(None, None, -1)
    shapes = [w.shape[inward] for w in affine_weights(model)]
    return [shapes[0][0], *(out for _, out in shapes)]


def preactivations(model: Any, x: Float[Array, "batch into"]) -> list[Float[Array, "batch out"]]:
    """What each layer of an MLP gives before its activation; the last are the outputs."""
    layers: list[Callable[[Array], Array]]
    if isinstance(model, eqx.nn.MLP):
        layers = [jax.vmap(layer) for layer in model.layers]
    else:
        pairs = zip(affine_weights(model), affine_biases(model))
        layers = [lambda h, w=w, b=b: h @ w + (0.0 if b is None else b) for w, b in pairs]  # type: ignore[misc]
    out = [layers[0](x)]
    for layer in layers[1:]:
        out.append(layer(model.activation(out[-1])))
    return out
