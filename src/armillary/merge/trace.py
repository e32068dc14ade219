"""A model's computation as a straight list of primitives, calls inlined, that can be read and evaluated."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, PyTree

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
}
"""Primitives that only call a function, and the parameter that holds it."""


class Step(NamedTuple):
    """One primitive applied to numbered values."""

    equation: Any
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    @property
    def name(self) -> str:
        """The primitive's name."""
        return self.equation.primitive.name


class Program(NamedTuple):
    """What `trace` returns. Values are numbered: parameters first, then the input's arrays, then the rest."""

    steps: list[Step]
    shapes: dict[int, tuple[int, ...]]
    """The shape of every value."""
    constants: dict[int, Any]
    """Values that depend on neither parameters nor input."""
    leaves: list[str]
    """The parameters' paths: value i is the parameter `leaves[i]`."""
    outputs: list[int]


def trace(model: Callable[[PyTree, PyTree], PyTree], params: PyTree, x: PyTree) -> Program:
    """List the primitives of `model(params, x)`, with the functions that it calls inlined.

    **Arguments:**

    - `model`: `(params, x) -> outputs`, any function that JAX can trace.
    - `params`: a pytree; its inexact arrays are the parameters, everything else is a constant.
    - `x`: the input, a pytree of arrays (or of shapes: only shapes are looked at).
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    closed = jax.make_jaxpr(lambda a, x: model(eqx.combine(a, rest), x))(arrays, x)
    leaves = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(arrays)]
    program = Program([], {}, {}, leaves, [])
    numbers = itertools.count()

    def new(shape: Sequence[int]) -> int:
        number = next(numbers)
        program.shapes[number] = tuple(shape)
        return number

    def constant(value: Any) -> int:
        number = new(jax.numpy.shape(value))
        program.constants[number] = value
        return number

    def inline(jaxpr: Any, constants: Sequence[int], inputs: Sequence[int]) -> list[int]:
        known = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *inputs), strict=True))
        read = lambda v: constant(v.val) if hasattr(v, "val") else known[v]
        for equation in jaxpr.eqns:
            arguments = [read(v) for v in equation.invars]
            called = equation.params.get(CALLS.get(equation.primitive.name, ""))
            if called is not None:
                inner = getattr(called, "jaxpr", called)
                outputs = inline(inner, [constant(c) for c in getattr(called, "consts", ())], arguments)
            else:
                outputs = [new(getattr(v.aval, "shape", ())) for v in equation.outvars]
                program.steps.append(Step(equation, tuple(arguments), tuple(outputs)))
            known.update(zip(equation.outvars, outputs, strict=True))
        return [read(v) for v in jaxpr.outvars]

    inputs = [new(v.aval.shape) for v in closed.jaxpr.invars]
    program.outputs.extend(inline(closed.jaxpr, [constant(c) for c in closed.consts], inputs))
    return program


def evaluate(program: Program, params: PyTree, x: PyTree, wanted: Sequence[int]) -> list[Array]:
    """The values numbered `wanted` of a traced program, at other parameters and inputs of the same shapes.

    Under `jit`, what they do not need is not computed.
    """
    arrays = jax.tree.leaves((eqx.filter(params, eqx.is_inexact_array), x))
    known = {**program.constants, **dict(enumerate(arrays))}
    for step in program.steps:
        primitive = step.equation.primitive
        options = primitive.get_bind_params(step.equation.params)
        result = primitive.bind(*(known[i] for i in step.inputs), **options)
        known.update(zip(step.outputs, result if primitive.multiple_results else [result], strict=True))
    return [known[i] for i in wanted]
