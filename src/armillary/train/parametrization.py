"""How initial weights and learning rates change with width: abc-parametrizations of an MLP.

"Feature Learning in Infinite-Width Neural Networks" (Yang, Hu 2020, section 3): in a network of width n the layer's
matrix is W = n^-a w, the trained w is drawn with standard deviation n^-b and trained at the rate η n^-c. What
the network does depends only on the entries of W, of deviation n^-(a+b), and on W's own rate: n^-(c+2a) under SGD,
whose gradient of w carries another n^-a, and n^-(c+a) under Adam, whose step does not depend on the gradient's
size. So any Equinox MLP takes any parametrization by one rescaling of its matrices and one Optax transformation.
"""

from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import optax
from jaxtyping import PyTree

from armillary.nn.affine import affine_biases, affine_sizes, affine_weights

Name = Literal["standard", "ntk", "mup"]
Optimizer = Literal["sgd", "adam"]


class ABC(NamedTuple):
    """Exponents of width for the input, the hidden and the output matrices. May be traced numbers."""

    a: tuple[Any, Any, Any]
    """W = n^-a w."""
    b: tuple[Any, Any, Any]
    """w is drawn with standard deviation n^-b (an input matrix also with inputs^-½)."""
    c: tuple[Any, Any, Any]
    """w's learning rate is η n^-c. The paper has one c for all layers, which is enough for SGD."""


STANDARD = ABC((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.0, 0.0, 0.0))
"""What layers do by default; unstable as n grows unless c is 1."""
NTK = ABC((0.0, 0.5, 0.5), (0.0, 0.0, 0.0), (0.0, 0.0, 0.0))
"""The neural tangent parametrization ("Neural Tangent Kernel", Jacot et al. 2018)."""
MUP = ABC((-0.5, 0.0, 0.5), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0))
"""The maximal-update parametrization for SGD."""
MUP_ADAM = ABC((-0.5, 0.0, 0.5), (0.5, 0.5, 0.5), (0.5, 1.0, 0.5))
"""The maximal-update parametrization for Adam ("Tensor Programs V", Yang et al. 2022, table 3)."""

_NAMED = {
    ("standard", "sgd"): STANDARD,
    ("standard", "adam"): STANDARD,
    ("ntk", "sgd"): NTK,
    ("mup", "sgd"): MUP,
    ("mup", "adam"): MUP_ADAM,
}


class LayerScale(NamedTuple):
    """What a parametrization prescribes for one layer."""

    kind: Literal["input", "hidden", "output"]
    width: int
    """The n of this layer: its outputs if it is the input layer, else its inputs."""
    std: Any
    """The standard deviation of the matrix's initial entries."""
    rescale: Any
    """`std` over the default one, inputs^-½."""
    rate: Any
    """The matrix's learning rate, as a multiple of the base rate."""
    bias_rate: Any
    """The bias's learning rate, as a multiple of the base rate."""


class Parametrized(NamedTuple):
    """A model in a parametrization, and how to train it there."""

    model: PyTree
    """The model, its initial matrices rescaled."""
    rates: optax.GradientTransformation
    """To chain after an optimizer: `optax.chain(optax.sgd(rate), rates)`."""
    layers: tuple[LayerScale, ...]
    """What was prescribed."""


def layer_scales(
    model: PyTree,
    parametrization: Name | ABC = "mup",
    *,
    optimizer: Optimizer = "sgd",
    base_width: int = 1,
) -> tuple[LayerScale, ...]:
    """The initial scale and the learning rate of every layer of an MLP.

    **Arguments:**

    - `model`: an [`MLP`][armillary.nn.MLP] or `equinox.nn.MLP` of one hidden layer or more. Hidden widths may
      differ: a layer's n is the width that it reads (the input layer's: that it writes).
    - `parametrization`: a name, or exponents of your own.
    - `optimizer`: `sgd` (with or without momentum) or `adam` (and what else normalizes each entry's step).
    - `base_width`: the width at which every parametrization is the standard one, as n is counted in units of
      it. 1 is the paper's definition; the width at which a learning rate was tuned is the practitioner's.

    **Raises:** `ValueError` for a model without hidden layers, or a name not defined for the optimizer.
    """
    sizes = affine_sizes(model)
    if len(sizes) < 3:
        raise ValueError("a model without hidden layers has no width to parametrize")
    if isinstance(parametrization, str):
        if (parametrization, optimizer) not in _NAMED:
            known = ", ".join(f"{p} with {o}" for p, o in _NAMED)
            raise ValueError(f"{parametrization!r} with {optimizer!r} is not defined; known: {known}")
        parametrization = _NAMED[parametrization, optimizer]
    times = 2 if optimizer == "sgd" else 1
    a, b, c = parametrization
    last = len(sizes) - 2

    def scale(layer: int) -> LayerScale:
        i = 0 if layer == 0 else 2 if layer == last else 1
        width = sizes[1] if layer == 0 else sizes[layer]
        n = width / base_width
        # A matrix that reads n coordinates has by default deviation n^-½ already.
        rescale = n ** ((0.0 if layer == 0 else 0.5) - a[i] - b[i])
        # A bias is the weight of a constant input: it goes with the input matrix, at the width it writes.
        written = sizes[layer + 1] / base_width
        return LayerScale(
            kind=("input", "hidden", "output")[i],  # type: ignore[arg-type]
            width=width,
            std=rescale * sizes[layer] ** -0.5,
            rescale=rescale,
            rate=n ** -(c[i] + times * a[i]),
            bias_rate=n ** -c[2] if layer == last else written ** -(c[0] + times * a[0]),
        )

    return tuple(scale(layer) for layer in range(last + 1))


def rescale_layers(model: PyTree, layers: tuple[LayerScale, ...]) -> PyTree:
    """The model with each matrix multiplied by its layer's `rescale`; biases are left as they are.

    The model must be fresh from an initialization with standard deviation in proportion to inputs^-½
    (`lecun`, `he`, `torch`, Equinox's own); the proportion, a constant of width, is kept.
    """
    return eqx.tree_at(affine_weights, model, [w * s.rescale for w, s in zip(affine_weights(model), layers)])


def scale_layer_rates(model: PyTree, layers: tuple[LayerScale, ...]) -> optax.GradientTransformation:
    """Multiply each layer's update by its `rate` and `bias_rate`; chain it after the optimizer."""
    factors = jax.tree.map(lambda _: 1.0, eqx.filter(model, eqx.is_inexact_array))
    factors = eqx.tree_at(affine_weights, factors, [s.rate for s in layers])
    present = lambda tree: [b for b in affine_biases(tree) if b is not None]
    if present(factors):
        rates = [s.bias_rate for s, b in zip(layers, affine_biases(factors)) if b is not None]
        factors = eqx.tree_at(present, factors, rates)
    return optax.stateless(lambda updates, _: jax.tree.map(lambda u, f: u * f, updates, factors))


def parametrize(
    model: PyTree,
    parametrization: Name | ABC = "mup",
    *,
    optimizer: Optimizer = "sgd",
    base_width: int = 1,
) -> Parametrized:
    """Put a freshly initialized MLP into a parametrization.

    **Arguments:** as for [`layer_scales`][]. Weight decay chained before `rates` is scaled by them too.

    **Example:**

    ```python
    import jax
    import optax
    from armillary.nn import MLP
    from armillary.train import parametrize

    model, rates, layers = parametrize(MLP((64, 512, 512, 10), jax.random.key(0)), "mup", base_width=64)
    optimizer = optax.chain(optax.sgd(0.1), rates)  # a rate that was found at width 64 carries over to 512
    [(layer.kind, layer.rate) for layer in layers]
    ```
    """
    layers = layer_scales(model, parametrization, optimizer=optimizer, base_width=base_width)
    return Parametrized(rescale_layers(model, layers), scale_layer_rates(model, layers), layers)


class Limit(NamedTuple):
    """What a parametrization becomes as the width grows without bound."""

    kind: Literal["feature learning", "kernel", "trivial", "unstable"]
    r: float
    """Hidden coordinates move by n^-r during training."""


def classify_abc(parametrization: ABC) -> Limit:
    """The kind of infinite-width limit under SGD, from the exponents alone.

    "Feature Learning in Infinite-Width Neural Networks" (Yang, Hu 2020, definition 3.2, theorems 3.3 and 3.4):
    r = min(a_out + b_out, 2a_out + c) + c - 1 + min(2a_hidden, 2a_in + 1).

    **Arguments:**

    - `parametrization`: exponents with one c, for a network with hidden matrices (two hidden layers or more).

    **Raises:** `ValueError` if the layers' c differ.
    """
    (a_in, a_hidden, a_out), (b_in, b_hidden, b_out), c_all = parametrization
    if len(set(c_all)) > 1:
        raise ValueError(f"the classification is for one c, not {c_all}")
    c, tiny = c_all[0], 1e-9
    r = min(a_out + b_out, 2 * a_out + c) + c - 1 + min(2 * a_hidden, 2 * a_in + 1)
    starts = abs(a_in + b_in) < tiny and abs(a_hidden + b_hidden - 0.5) < tiny and a_out + b_out > 0.5 - tiny
    ends = min(r, 2 * a_out + c - 1, a_out + b_out + r - 1)
    if not starts or ends < -tiny:
        return Limit("unstable", r)
    if min(2 * a_out + c, a_out + b_out + r) > 1 + tiny:
        return Limit("trivial", r)
    return Limit("feature learning" if abs(r) < tiny else "kernel", r)
