"""Hessian and Gauss-Newton products of a loss, as operators and as dense matrices.

With loss = objective ∘ model, J the outputs' Jacobian and Q the objective's Hessian in the outputs,
the Hessian is H = JᵀQJ + Σᵢ (∂objective/∂outputᵢ) ∇²outputᵢ; its first term is the generalized
Gauss-Newton matrix G. "Fast Exact Multiplication by the Hessian" (Pearlmutter 1994) gives Hv as the
derivative of the gradient along v; "Fast Curvature Matrix-Vector Products for Second-Order Gradient Descent"
(Schraudolph 2002, eq. 12) gives Gv.
"""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

Loss = Callable[[PyTree, PyTree], Float[Array, ""]]
"""`(params, batch) -> scalar`."""
Model = Callable[[PyTree, PyTree], PyTree]
"""`(params, batch) -> outputs`."""
Objective = Callable[[PyTree, PyTree], Float[Array, ""]]
"""`(outputs, batch) -> scalar`, convex in the outputs where the Gauss-Newton matrix is to be semidefinite."""


def flatten(params: PyTree) -> tuple[Float[Array, " params"], Callable[[Float[Array, " params"]], PyTree]]:
    """The trainable entries of a pytree as one vector, and the way back.

    **Returns:** the inexact arrays' entries in `ravel_pytree`'s order, and a function from such a vector
    to the whole pytree, in which everything else (integers, functions, None) is kept.
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    vector, unravel = ravel_pytree(arrays)
    return vector, lambda flat: eqx.combine(unravel(flat), rest)


def hessian_vector_product(loss: Loss, params: PyTree, batch: PyTree, vector: PyTree) -> PyTree:
    """The Hessian of `loss` at `params` times a vector (Pearlmutter 1994).

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`.
    - `params`: any pytree; its inexact arrays are differentiated.
    - `batch`: handed on to `loss`.
    - `vector`: a pytree like `params` (`eqx.filter(params, eqx.is_inexact_array)`'s structure).

    **Returns:** a pytree like `vector`. Costs about two gradients.
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    vector = eqx.filter(vector, eqx.is_inexact_array)
    gradient = jax.grad(lambda a: loss(eqx.combine(a, rest), batch))
    return jax.jvp(gradient, (arrays,), (vector,))[1]


def gauss_newton_vector_product(
    model: Model, objective: Objective, params: PyTree, batch: PyTree, vector: PyTree
) -> PyTree:
    """The generalized Gauss-Newton matrix JᵀQJ times a vector (Schraudolph 2002).

    **Arguments:**

    - `model`: `(params, batch) -> outputs`, any pytree of arrays.
    - `objective`: `(outputs, batch) -> scalar`; Q is its Hessian in the outputs.
    - `params`, `batch`, `vector`: as for `hessian_vector_product`.

    **Returns:** a pytree like `vector`.
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    vector = eqx.filter(vector, eqx.is_inexact_array)
    function = lambda a: model(eqx.combine(a, rest), batch)
    outputs, push = jax.jvp(function, (arrays,), (vector,))
    curved = jax.jvp(jax.grad(lambda o: objective(o, batch)), (outputs,), (push,))[1]
    return jax.vjp(function, arrays)[1](curved)[0]


def hessian_operator(loss: Loss, params: PyTree, batch: PyTree) -> lx.FunctionLinearOperator:
    """The Hessian of `loss` as a symmetric operator on flat vectors (the order of [`flatten`][]).

    The gradient is linearized once: a product then costs about one gradient, and the activations of one
    pass over `batch` stay in memory while the operator lives.
    """
    flat, unflatten = flatten(params)
    product = jax.linearize(jax.grad(lambda f: loss(unflatten(f), batch)), flat)[1]
    return _operator(product, flat, lx.symmetric_tag)


def gauss_newton_operator(
    model: Model, objective: Objective, params: PyTree, batch: PyTree
) -> lx.FunctionLinearOperator:
    """The generalized Gauss-Newton matrix JᵀQJ as a symmetric operator on flat vectors.

    **Arguments:** as for [`gauss_newton_vector_product`][]. Linearized once, as [`hessian_operator`][].
    The operator is tagged symmetric only: whether Q is semidefinite is the objective's affair.
    """
    flat, unflatten = flatten(params)
    outputs, push = jax.linearize(lambda f: model(unflatten(f), batch), flat)
    pull = jax.linear_transpose(push, flat)
    curve = jax.linearize(jax.grad(lambda o: objective(o, batch)), outputs)[1]
    return _operator(lambda v: pull(curve(push(v)))[0], flat, lx.symmetric_tag)


def _operator(product: Callable[[Array], Array], like: Array, tag: Any) -> lx.FunctionLinearOperator:
    return lx.FunctionLinearOperator(product, jax.ShapeDtypeStruct(like.shape, like.dtype), tag)


def dense(operator: lx.AbstractLinearOperator, *, chunk: int = 64) -> Float[Array, "size size"]:
    """A symmetric operator on flat vectors as a matrix: one product a column, `chunk` of them at a time.

    **Arguments:**

    - `operator`: symmetric; for one that is not, the transpose is returned.
    - `chunk`: columns computed at once; memory grows with it.
    """
    structure = operator.in_structure()
    (size,) = structure.shape
    column = lambda i: operator.mv(jnp.zeros(size, structure.dtype).at[i].set(1))
    return jax.lax.map(column, jnp.arange(size), batch_size=min(chunk, size))


def hessian_matrix(
    loss: Loss, params: PyTree, batch: PyTree, *, chunk: int = 64
) -> Float[Array, "params params"]:
    """The exact dense Hessian of `loss`, for small networks (in the order of [`flatten`][])."""
    return dense(hessian_operator(loss, params, batch), chunk=chunk)


def gauss_newton_matrix(
    model: Model, objective: Objective, params: PyTree, batch: PyTree, *, chunk: int = 64
) -> Float[Array, "params params"]:
    """The exact dense generalized Gauss-Newton matrix, for small networks."""
    return dense(gauss_newton_operator(model, objective, params, batch), chunk=chunk)
