"""A PyTorch module's computation as a JAX function, so that units can be matched through it.

The forward pass is traced to PyTorch's core operations; those of the table below are said again in JAX. Used for
shapes only (which axes are tied to which), never for numbers that are reported.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

if TYPE_CHECKING:
    from torch import Tensor


class UnknownOperation(ValueError):
    """An operation that is not in the table."""


def as_jax(
    function: Callable[[dict[str, "Tensor"]], "Tensor"], parameters: Mapping[str, "Tensor"]
) -> Callable[[dict[str, Array]], Array]:
    """The same function of named arrays.

    **Arguments:**

    - `function`: of named tensors; whatever else it uses becomes a constant.
    - `parameters`: the tensors at which it is traced.

    **Raises:** `UnknownOperation`, naming it, for an operation that is not in the table.
    """
    import torch
    from torch._decomp import core_aten_decompositions
    from torch.fx.experimental.proxy_tensor import make_fx

    with torch.no_grad():
        graph = make_fx(function, decomposition_table=dict(core_aten_decompositions()))(dict(parameters))
    nodes = list(graph.graph.nodes)
    used = _needed(nodes)
    for node in nodes:
        if node in used and node.op == "call_function" and node.target is not operator.getitem:
            if node.target.overloadpacket.__name__ not in OPERATIONS:
                raise UnknownOperation(
                    f"operation {node.target} is not among those that units are followed through"
                )
    constants = {
        node.name: jnp.asarray(getattr(graph, node.target).detach().numpy())
        for node in nodes
        if node.op == "get_attr"
    }
    names = list(parameters)

    def run(arrays: dict[str, Array]) -> Array:
        known: dict[Any, Any] = {}
        places = iter(names)
        for node in nodes:
            if node.op == "placeholder":
                known[node] = arrays[next(places)]
            elif node.op == "get_attr":
                known[node] = constants[node.name]
            elif node.op == "output":
                (result,) = node.args
                return known[result[0] if isinstance(result, list | tuple) else result]
            elif node in used:
                args = _filled(node.args, known)
                if node.target is operator.getitem:
                    known[node] = args[0][args[1]]
                else:
                    known[node] = OPERATIONS[node.target.overloadpacket.__name__](
                        *args, **_filled(node.kwargs, known)
                    )
        raise AssertionError("a graph has an output")

    return run


def _needed(nodes: Sequence[Any]) -> set[Any]:
    """The nodes that the output depends on."""
    todo, found = [n for n in nodes if n.op == "output"], set()
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += node.all_input_nodes
    return found


def _filled(value: Any, known: dict[Any, Any]) -> Any:
    """Arguments with values in their nodes' places."""
    if isinstance(value, list | tuple):
        return [_filled(v, known) for v in value]
    if isinstance(value, dict):
        return {name: _filled(v, known) for name, v in value.items()}
    return known[value] if hasattr(value, "all_input_nodes") else value


def _scaled_add(a: Any, b: Any, *, alpha: float = 1) -> Any:
    return a + (b if alpha == 1 else alpha * b)


def _axes(x: Any, dims: Any) -> tuple[int, ...] | None:
    if dims is None or dims == []:
        return None
    return tuple(d % x.ndim for d in ([dims] if isinstance(dims, int) else dims))


def _convolution(
    x: Any, w: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, _: Any, groups: int
) -> Any:
    if transposed:
        raise UnknownOperation(
            "a transposed convolution is not among the operations that units are followed through"
        )
    made = jax.lax.conv_general_dilated(
        x, w, stride, [(p, p) for p in padding], rhs_dilation=dilation, feature_group_count=groups
    )
    return made if bias is None else made + bias.reshape(1, -1, *[1] * (x.ndim - 2))


def _batch_norm(x: Any, gain: Any, bias: Any, mean: Any, var: Any, *rest: Any) -> tuple[Any]:
    along = lambda v: v.reshape(1, -1, *[1] * (x.ndim - 2))
    made = (x - along(mean)) / along(jnp.sqrt(var + rest[-1]))
    made = made if gain is None else made * along(gain)
    return (made if bias is None else made + along(bias),)


def _layer_norm(x: Any, shape: Any, gain: Any, bias: Any, epsilon: float) -> tuple[Any]:
    axes = tuple(range(x.ndim - len(shape), x.ndim))
    centred = x - x.mean(axes, keepdims=True)
    made = centred * jax.lax.rsqrt((centred**2).mean(axes, keepdims=True) + epsilon)
    made = made if gain is None else made * gain
    return (made if bias is None else made + bias,)


def _max_pool(x: Any, kernel: Any, stride: Any = None, padding: Any = (0, 0), *_: Any) -> tuple[Any]:
    stride, padding = stride or kernel, [(0, 0), (0, 0), *((p, p) for p in padding)]
    return (jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 1, *kernel), (1, 1, *stride), padding),)


def _average_pool(x: Any, kernel: Any, stride: Any = None, padding: Any = (0, 0), *_: Any) -> Any:
    stride, padding = stride or kernel, [(0, 0), (0, 0), *((p, p) for p in padding)]
    made = jax.lax.reduce_window(x, 0.0, jax.lax.add, (1, 1, *kernel), (1, 1, *stride), padding)
    return made / float(np.prod(kernel))


def _slice(x: Any, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Any:
    return jax.lax.slice_in_dim(x, *slice(start, end).indices(x.shape[dim])[:2], step, dim)


def _split(x: Any, sizes: Sequence[int], dim: int = 0) -> list[Any]:
    ends = np.cumsum(sizes)
    return [jax.lax.slice_in_dim(x, int(e - n), int(e), axis=dim) for n, e in zip(sizes, ends)]


OPERATIONS: dict[str, Callable[..., Any]] = {
    "addmm": lambda bias, x, w, **_: bias + x @ w,
    "mm": jnp.matmul,
    "bmm": jnp.matmul,
    "add": _scaled_add,
    "sub": lambda a, b, *, alpha=1: _scaled_add(a, -b, alpha=alpha),
    "mul": operator.mul,
    "div": operator.truediv,
    "neg": operator.neg,
    "pow": operator.pow,
    "relu": lambda x: jnp.maximum(x, 0),
    "tanh": jnp.tanh,
    "sigmoid": jax.nn.sigmoid,
    "gelu": lambda x, approximate="none": jax.nn.gelu(x, approximate=approximate != "none"),
    "erf": jax.lax.erf,
    "exp": jnp.exp,
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "rsqrt": jax.lax.rsqrt,
    "abs": jnp.abs,
    "clamp": lambda x, low=None, high=None: jnp.clip(x, low, high),
    "leaky_relu": lambda x, slope=0.01: jnp.where(x > 0, x, slope * x),
    "elu": lambda x, alpha=1.0, *_: jnp.where(x > 0, x, alpha * jnp.expm1(x)),
    "hardtanh": lambda x, low=-1.0, high=1.0: jnp.clip(x, low, high),
    "permute": jnp.transpose,
    "t": jnp.transpose,
    "transpose": jnp.swapaxes,
    "view": lambda x, shape: x.reshape(shape),
    "reshape": lambda x, shape: x.reshape(shape),
    "_unsafe_view": lambda x, shape: x.reshape(shape),
    "unsqueeze": jnp.expand_dims,
    "squeeze": lambda x, dims=None: jnp.squeeze(x, _axes(x, dims)),
    "expand": lambda x, shape: jnp.broadcast_to(
        x, [x.shape[i - len(shape)] if n == -1 else n for i, n in enumerate(shape)]
    ),
    "clone": lambda x, **_: x,
    "detach": lambda x: x,
    "alias": lambda x: x,
    "_to_copy": lambda x, **_: x,
    "mean": lambda x, dims=None, keep=False, **_: jnp.mean(x, _axes(x, dims), keepdims=keep),
    "sum": lambda x, dims=None, keep=False, **_: jnp.sum(x, _axes(x, dims), keepdims=keep),
    "amax": lambda x, dims=None, keep=False: jnp.max(x, _axes(x, dims), keepdims=keep),
    "_softmax": lambda x, dim, _: jax.nn.softmax(x, dim),
    "_log_softmax": lambda x, dim, _: jax.nn.log_softmax(x, dim),
    # A product with one-hot rows: a gather says nothing about the axis that goes through it.
    "embedding": lambda w, i, *_: jax.nn.one_hot(i, w.shape[0], dtype=w.dtype) @ w,
    "convolution": _convolution,
    "native_batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": lambda x, g, b, m, v, _, e: _batch_norm(x, g, b, m, v, e),
    "native_layer_norm": _layer_norm,
    "max_pool2d_with_indices": _max_pool,
    "avg_pool2d": _average_pool,
    "split_with_sizes": _split,
    "slice": _slice,
    "select": lambda x, dim, i: jnp.squeeze(
        jax.lax.slice_in_dim(x, i % x.shape[dim], i % x.shape[dim] + 1, axis=dim), dim
    ),
    "cat": lambda parts, dim=0: jnp.concatenate(parts, dim),
    "where": jnp.where,
}
"""PyTorch's core operations by name. What is not needed for the output is skipped."""
