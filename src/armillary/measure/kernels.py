"""Tangent kernels of networks, and how alike two kernels are."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def empirical_ntk(
    model: Callable[[PyTree, PyTree], Float[Array, "examples ..."]], params: PyTree, x: PyTree
) -> Float[Array, "examples examples"]:
    """The neural tangent kernel of a network at its parameters, traced over the outputs.

    K_ij = Σ_c ⟨∇f_c(xᵢ), ∇f_c(xⱼ)⟩: "Neural Tangent Kernel: Convergence and Generalization in Neural Networks" (Jacot,
    Gabriel, Hongler 2018). The whole Jacobian is held in memory.

    **Arguments:**

    - `model`: `(params, x) -> outputs`, examples first.
    - `params`: a pytree; its inexact arrays count.
    - `x`: the examples.
    """
    arrays, rest = eqx.partition(params, eqx.is_inexact_array)
    jacobian = jax.jacrev(lambda a: model(eqx.combine(a, rest), x))(arrays)
    outputs = jax.eval_shape(lambda a: model(eqx.combine(a, rest), x), arrays)
    rows = [leaf.reshape(*outputs.shape, -1) for leaf in jax.tree.leaves(jacobian)]
    return sum(jnp.einsum("i...p,j...p->ij", r, r) for r in rows)  # type: ignore[return-value]


def centred(kernel: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The kernel of the features less their mean."""
    rows = kernel - kernel.mean(0, keepdims=True)
    return rows - rows.mean(1, keepdims=True)


def kernel_alignment(
    a: Float[Array, "n n"], b: Float[Array, "n n"], *, centre: bool = False
) -> Float[Array, ""]:
    """⟨A, B⟩ / (‖A‖ ‖B‖): 1 for kernels that are multiples of each other, and at least 0 for semidefinite ones.

    "On Kernel-Target Alignment" (Cristianini et al. 2001); with `centre` as in "Algorithms for Learning Kernels Based on
    Centered Alignment" (Cortes, Mohri, Rostamizadeh 2012). Between a network's tangent kernels before and after
    training it says how lazy the training was ("How connectivity structure shapes rich and lazy learning in neural
    circuits", 2023).
    """
    if centre:
        a, b = centred(a), centred(b)
    return jnp.vdot(a, b) / (jnp.linalg.norm(a) * jnp.linalg.norm(b))
