"""Which permutations of a network's units leave its function unchanged, read off its computation.

A unit of a hidden layer is an index along an axis that several parameters share: the columns of one weight, the
entries of its bias, the rows of the next weight. "Git Re-Basin" (Ainsworth et al. 2022) lists these axes by hand
for each architecture. Here every axis of every parameter starts as its own, and each primitive of the
computation ties those that must be permuted together: a contraction the two axes that it sums over, an
elementwise operation the axes of its operands (a residual connection therefore ties a whole stream). Axes that
meet the input or the output are held fixed.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from armillary.merge.trace import Program, Step, trace


class SymmetryError(ValueError):
    """A primitive whose effect on permuted axes is not known."""


class Place(NamedTuple):
    """One factor of one axis of one parameter."""

    leaf: str
    """The parameter's path in its pytree."""
    axis: int
    factor: int
    """0, unless the axis is a flattened product of axes (rows, columns, channels)."""


class Symmetry(NamedTuple):
    """What `permutation_symmetry` returns."""

    sizes: tuple[int, ...]
    """How many units each group has."""
    places: tuple[tuple[Place, ...], ...]
    """What each group permutes."""
    axes: dict[str, tuple[tuple[tuple[int | None, int], ...], ...]]
    """For every parameter and axis, its factors, major to minor: (group or None where it is fixed, size)."""


class Factor:
    """An axis, or a factor of one: a node of a union-find forest that can also be split in two.

    `fixed` factors may not be permuted; along `uniform` ones the value is constant, so that it does not matter.
    """

    def __init__(self, size: int, *, fixed: bool = False, uniform: bool = False):
        self.size, self.fixed, self.uniform = size, fixed, uniform
        self.parent: Factor | None = None
        self.parts: tuple[Factor, Factor] | None = None

    def resolve(self) -> "list[Factor]":
        """The factors that this one has been tied to and split into, major to minor."""
        node = self
        while node.parent is not None:
            node = node.parent
        return [node] if node.parts is None else [f for part in node.parts for f in part.resolve()]

    def split(self, major: int) -> None:
        """Make this the product of a factor of size `major` and the rest."""
        kind = {"fixed": self.fixed, "uniform": self.uniform}
        self.parts = Factor(major, **kind), Factor(self.size // major, **kind)


Axis = list[Factor]
Axes = list[Axis]
Shape = tuple[int, ...]
Shapes = list[Shape]


class _Misfit(Exception):
    """Two axes that factor differently."""


def resolve(axis: Axis) -> Axis:
    """An axis as it stands after all ties and splits so far."""
    return [f for factor in axis for f in factor.resolve()]


def _fix(axis: Axis) -> Axis:
    for factor in resolve(axis):
        factor.fixed = not factor.uniform
    return axis


def _movable(axis: Axis) -> bool:
    return any(not (f.fixed or f.uniform) for f in resolve(axis))


def _fixed(*sizes: int) -> Axes:
    return [[Factor(n, fixed=True)] if n != 1 else [] for n in sizes]


def _take(axis: Axis, size: int) -> tuple[Axis, Axis]:
    """The leading factors of an axis that make up `size`, and the rest; a factor is split where it must be."""
    taken: Axis = []
    rest = resolve(axis)
    while (needed := size // _size(taken)) > 1:
        if rest[0].size > needed:
            if rest[0].size % needed:
                raise _Misfit
            rest[0].split(needed)
            taken, rest = resolve(taken), resolve(rest)
        elif needed % rest[0].size:
            raise _Misfit
        else:
            taken.append(rest.pop(0))
    return taken, rest


def _size(axis: Axis) -> int:
    return math.prod(f.size for f in axis)


def _tie(a: Axis, b: Axis) -> Axis:
    """Permute two axes of the same size together from here on; where one is constant, the other decides."""
    if all(f.uniform for f in resolve(a)):
        return b
    if all(f.uniform for f in resolve(b)):
        return a
    if not (_movable(a) and _movable(b)):
        (fixed,) = _fixed(_size(resolve(a)))
        _fix(a), _fix(b)
        return fixed
    tied: Axis = []
    while (a := resolve(a)) and (b := resolve(b)):
        one, other = a[0], b[0]
        if one.size != other.size:
            longer, size = max(one, other, key=lambda f: f.size), min(one.size, other.size)
            if longer.size % size:
                raise _Misfit
            longer.split(size)
            continue
        a, b = a[1:], b[1:]
        if not (one.uniform or other.uniform) and one is not other:
            other.parent, one.fixed = one, one.fixed or other.fixed
        tied.append(other if one.uniform else one)
    return tied


ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "add_any", "and", "asin", "asinh", "atan", "atan2", "atanh",
    "cbrt", "ceil", "clamp", "convert_element_type", "copy", "copy_p", "cos", "cosh", "digamma",
    "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt",
    "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt", "max", "min",
    "mul", "ne", "neg", "nextafter", "not", "or", "pow", "real", "reduce_precision", "rem", "round",
    "rsqrt", "select_n", "sign", "sin", "sinh", "sqrt", "square", "stop_gradient", "sub", "tan",
    "tanh", "xor",
))  # fmt: skip
REDUCTIONS = frozenset(["reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or"])
WINDOWS = frozenset(["reduce_window_sum", "reduce_window_max", "reduce_window_min"])
POSITIONAL = {
    "argmax": "axes", "argmin": "axes", "cumsum": "axis", "cumprod": "axis", "cummax": "axis", "cummin": "axis",
    "cumlogsumexp": "axis", "concatenate": "dimension", "rev": "dimensions", "split": "axis",
    "unstack": "axis",
}  # fmt: skip
"""Primitives in which position along an axis matters, and the parameter that names it."""


def _elementwise(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    axes = [list(a) for a in max(operands, key=len)]
    for other in operands:
        if len(other) == len(axes):
            axes = [_tie(a, b) for a, b in zip(axes, other)]
    return axes


def _reduce(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    return [a for i, a in enumerate(operands[0]) if i not in step.equation.params["axes"]]


def _named_sum(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    """A sum over a named axis; where `vmap` has given the name a place, it is one more reduction."""
    if any(isinstance(axis, str) for axis in step.equation.params["axes"]):
        raise _Misfit
    return _reduce(step, operands, shapes, out)


def _dot(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    (left, right), (batch_left, batch_right) = step.equation.params["dimension_numbers"]
    a, b = operands
    for i, j in zip(left, right):
        _tie(a[i], b[j])
    batch = [_tie(a[i], b[j]) for i, j in zip(batch_left, batch_right)]
    free = lambda axes, used: [axis for i, axis in enumerate(axes) if i not in used]
    return batch + free(a, (*left, *batch_left)) + free(b, (*right, *batch_right))


def _convolve(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    options = step.equation.params
    if options["batch_group_count"] != 1:
        raise _Misfit
    numbers, groups = options["dimension_numbers"], options["feature_group_count"]
    (batch, into, *space), (outward, inward, *kernel_space) = numbers.lhs_spec, numbers.rhs_spec
    image, kernel = operands
    # Feature groups lie one after another along the input's channels and along the kernel's outputs.
    image_groups, each = _take(image[into], groups)
    kernel_groups, each_out = _take(kernel[outward], groups)
    _tie(each, kernel[inward])
    channels = _tie(image_groups, kernel_groups) + resolve(each_out)
    for i, j in zip(space, kernel_space):
        _fix(image[i]), _fix(kernel[j])
    result: Axes = [[] for _ in out]
    result[numbers.out_spec[0]], result[numbers.out_spec[1]] = image[batch], channels
    for i in numbers.out_spec[2:]:
        (result[i],) = _fixed(out[i])
    return result


def _window(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    options = step.equation.params
    names = ("window_dimensions", "window_strides", "base_dilation", "window_dilation")
    trivial = [
        all(n == 1 for n in numbers) and pad == (0, 0)
        for *numbers, pad in zip(*(options[n] for n in names), options["padding"])
    ]
    return [
        axis if same else (_fix(axis), *_fixed(n))[-1] for axis, same, n in zip(operands[0], trivial, out)
    ]


def _broadcast(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    result: Axes = [[Factor(n, uniform=True)] if n != 1 else [] for n in out]
    for axis, n, to in zip(operands[0], shapes[0], step.equation.params["broadcast_dimensions"]):
        if n != 1:
            result[to] = axis
    return result


def _reshape(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    if step.equation.params["dimensions"] is not None:
        raise _Misfit
    rest = [f for axis in operands[0] for f in resolve(axis)]
    if not _movable(rest):
        uniform = all(f.uniform for f in rest)
        return [[Factor(n, fixed=not uniform, uniform=uniform)] if n != 1 else [] for n in out]
    result = []
    for n in out:
        axis, rest = _take(rest, n)
        result.append(axis)
    return result


def _transpose(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    return [operands[0][i] for i in step.equation.params["permutation"]]


def _squeeze(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    return [a for i, a in enumerate(operands[0]) if i not in step.equation.params["dimensions"]]


def _resize(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    """Slice and pad: an axis whose extent is left as it is goes through, any other is fixed."""
    options = step.equation.params
    if step.name == "pad":
        kept = [tuple(p) == (0, 0, 0) for p in options["padding_config"]]
    else:
        strides = options["strides"] or (1,) * len(shapes[0])
        kept = [a == b and s == 1 for a, b, s in zip(shapes[0], out, strides)]
    return [a if k else (_fix(a), *_fixed(n))[-1] for a, k, n in zip(operands[0], kept, out)]


def _positional(step: Step, operands: list[Axes], shapes: Shapes, out: Shape) -> Axes:
    named = step.equation.params[POSITIONAL[step.name]]
    named = (named,) if isinstance(named, int) else tuple(named)
    for axes in operands:
        for i in named:
            _fix(axes[i])
    first, *others = operands
    axes = [list(a) for a in first]
    for other in others:
        axes = [a if i in named else _tie(a, b) for i, (a, b) in enumerate(zip(axes, other))]
    if step.name.startswith("arg") or step.name == "unstack":
        return [a for i, a in enumerate(axes) if i not in named]
    return [_fixed(out[i])[0] if i in named else a for i, a in enumerate(axes)]


RULES: dict[str, Callable[[Step, list[Axes], Shapes, Shape], Axes]] = {
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    **dict.fromkeys(REDUCTIONS, _reduce),
    **dict.fromkeys(WINDOWS, _window),
    **dict.fromkeys(POSITIONAL, _positional),
    "psum": _named_sum,
    "dot_general": _dot,
    "conv_general_dilated": _convolve,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshape,
    "transpose": _transpose,
    "squeeze": _squeeze,
    "slice": _resize,
    "pad": _resize,
}


def label(program: Program) -> dict[int, Axes]:
    """The axes of every value of a traced program, tied by its primitives."""
    known: dict[int, Axes] = {}
    used = {i for step in program.steps for i in step.inputs}
    for i, shape in program.shapes.items():
        if i < len(program.leaves) and i in used:
            known[i] = [[Factor(n)] if n != 1 else [] for n in shape]
        else:
            known[i] = _fixed(*shape)
    for step in program.steps:
        operands, shapes = (
            zip(*((known[i], program.shapes[i]) for i in step.inputs)) if step.inputs else ((), ())
        )
        moving = [axis for axes in operands for axis in axes if _movable(axis)]
        for i in step.outputs:
            out = program.shapes[i]
            try:
                if step.name not in RULES:
                    raise _Misfit
                known[i] = RULES[step.name](step, list(operands), list(shapes), out)
            except _Misfit:
                # What no permutation reaches, none can change.
                if moving:
                    raise SymmetryError(_refusal(program, step, known, moving)) from None
                known[i] = _fixed(*out)
    for i in program.outputs:
        for axis in known[i]:
            _fix(axis)
    return known


def _refusal(program: Program, step: Step, known: dict[int, Axes], moving: Sequence[Axis]) -> str:
    reached = {f for axis in moving for f in resolve(axis)}
    tied = [
        f"{leaf} axis {n}"
        for i, leaf in enumerate(program.leaves)
        for n, axis in enumerate(known[i])
        if reached & set(resolve(axis))
    ]
    shapes = ", ".join(str(program.shapes[i]) for i in step.inputs)
    what = (
        "it is not among the primitives understood" if step.name not in RULES else "its axes factor otherwise"
    )
    return (
        f"primitive {step.name!r} on shapes {shapes} mixes units of {'; '.join(tied)}, and how they would have "
        f"to be permuted is not known: {what}"
    )


def number_groups(program: Program, labels: dict[int, Axes]) -> dict[Factor, int]:
    """The groups of movable factors of the parameters' axes, numbered in the order of the parameters."""
    factors = (
        f for i in range(len(program.leaves)) for axis in labels[i] for f in resolve(axis) if not f.fixed
    )
    return {factor: i for i, factor in enumerate(dict.fromkeys(factors))}


def _plain(axis: Axis, number: dict[Factor, int]) -> tuple[tuple[int | None, int], ...]:
    """The factors of an axis as (group, size), with neighbours that are fixed made one."""
    plain: list[tuple[int | None, int]] = []
    for factor in resolve(axis):
        group, size = number.get(factor), factor.size
        if group is None and plain and plain[-1][0] is None:
            size *= plain.pop()[1]
        plain.append((group, size))
    return tuple(plain)


def permutation_symmetry(model: Callable[[PyTree, PyTree], PyTree], params: PyTree, x: PyTree) -> Symmetry:
    """Find the groups of parameter axes whose joint permutation leaves `model(params, x)` unchanged.

    Only shapes are looked at, so that the result serves every network of the architecture. What the model
    closes over is a constant and pins the axes that it meets; so give the running statistics of a batch
    normalization as a part of `params`: `(net, state)`.

    **Arguments:**

    - `model`: `(params, x) -> outputs`; for an Equinox module `lambda net, x: net(x)`.
    - `params`: a pytree; its inexact arrays are the parameters.
    - `x`: an input, with its batch axes if the model takes them.

    **Returns:** a [`Symmetry`][armillary.merge.Symmetry]. Every permutation of every group leaves the function
    unchanged. The converse does not hold: a flattened axis is permuted by factors only, feature groups of
    a convolution or of a normalization all alike, and an axis along which position matters (slices,
    concatenation, padding) not at all.

    **Raises:** `SymmetryError`, naming primitive and parameters, where units reach a primitive that is not
    understood.
    """
    program = trace(model, params, x)
    labels = label(program)
    number = number_groups(program, labels)
    places: list[list[Place]] = [[] for _ in number]
    axes = {}
    for i, leaf in enumerate(program.leaves):
        axes[leaf] = tuple(_plain(axis, number) for axis in labels[i])
        for n, axis in enumerate(axes[leaf]):
            for place, (group, _) in enumerate(axis):
                if group is not None:
                    places[group].append(Place(leaf, n, place))
    return Symmetry(tuple(f.size for f in number), tuple(tuple(p) for p in places), axes)


Permutations = Sequence[Int[Array, " units"]]
"""One for each group: entry i is the old index of the unit that comes to stand at i."""


def permute(symmetry: Symmetry, params: PyTree, permutations: Permutations) -> PyTree:
    """Reorder the units of a network; its function stays the same.

    **Arguments:**

    - `symmetry`: of the network's architecture.
    - `params`: a pytree like the one that it was found with.
    - `permutations`: for every group, the old index of the unit that comes to stand at each place.
    """

    def reorder(path: Any, leaf: Array) -> Array:
        for axis, factors in enumerate(symmetry.axes[jax.tree_util.keystr(path)]):
            if all(group is None for group, _ in factors):
                continue
            index = jnp.zeros((), int)
            for group, size in factors:
                order = jnp.arange(size) if group is None else permutations[group]
                index = (index[..., None] * size + order).ravel()
            leaf = jnp.take(leaf, index, axis=axis)
        return leaf

    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    return eqx.combine(jax.tree_util.tree_map_with_path(reorder, arrays), rest)


def identity_permutations(symmetry: Symmetry) -> tuple[Int[Array, " units"], ...]:
    """The permutations that move nothing."""
    return tuple(jnp.arange(n) for n in symmetry.sizes)


def random_permutations(symmetry: Symmetry, key: Key[Array, ""]) -> tuple[Int[Array, " units"], ...]:
    """Uniformly random permutations, one for each group."""
    keys = jax.random.split(key, len(symmetry.sizes)) if symmetry.sizes else ()
    return tuple(jax.random.permutation(k, n) for k, n in zip(keys, symmetry.sizes))
