"""Matching the units of two networks by their weights or by their activations.

"Git Re-Basin: Merging Models modulo Permutation Symmetries" (Ainsworth, Hayase & Srinivasa 2022), for any network
whose permutations `permutation_symmetry` finds. The linear assignments are solved inside JAX (Optax's Hungarian
algorithm), so that matching works under `jit` and `vmap`.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PyTree

from armillary.merge.symmetry import (
    Symmetry,
    identity_permutations,
    label,
    number_groups,
    permute,
    resolve,
)
from armillary.merge.trace import Step, evaluate, trace


class Matching(NamedTuple):
    """What `weight_matching` returns."""

    permutations: tuple[Int[Array, " units"], ...]
    """Of the second network's units: pass them to `permute`."""
    product: Float[Array, ""]
    """The inner product of the first network's weights with the permuted second's; what is maximized."""
    sweeps: Int[Array, ""]
    """Passes over the groups, the last of which changed nothing unless the limit was reached."""
    converged: Array
    """Whether no single group's assignment improves the product."""


def assign(gain: Float[Array, "units units"]) -> Int[Array, " units"]:
    """The permutation p that maximizes Σᵢ gain[i, p[i]] (linear assignment, exactly)."""
    rows, columns = optax.assignment.hungarian_algorithm(-gain)
    return jnp.zeros(gain.shape[0], int).at[rows].set(columns)


def _leaves(params: PyTree) -> dict[str, Array]:
    arrays = eqx.filter(params, eqx.is_inexact_array)
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(arrays)}


def _factored(symmetry: Symmetry, params: PyTree) -> dict[str, Array]:
    """Every parameter with one array axis for each factor."""
    shape = lambda leaf: [size for axis in symmetry.axes[leaf] for _, size in axis]
    return {leaf: array.reshape(shape(leaf)) for leaf, array in _leaves(params).items()}


def _gain(
    symmetry: Symmetry, group: int, a: dict[str, Array], b: dict[str, Array]
) -> Float[Array, "units units"]:
    """Entry [i, j]: the product of a's weights of unit i with b's of unit j, other axes as they are."""
    total = jnp.zeros((symmetry.sizes[group],) * 2)
    for leaf, axes in symmetry.axes.items():
        factors = [factor for axis in axes for factor, _ in axis]
        for position in (n for n, factor in enumerate(factors) if factor == group):
            rows = [jnp.moveaxis(w[leaf], position, 0).reshape(symmetry.sizes[group], -1) for w in (a, b)]
            total += rows[0] @ rows[1].T
    return total


def _product(a: PyTree, b: PyTree) -> Float[Array, ""]:
    return sum((jnp.vdot(u, v) for u, v in zip(_leaves(a).values(), _leaves(b).values())), jnp.zeros(()))


def weight_matching(
    symmetry: Symmetry,
    a: PyTree,
    b: PyTree,
    *,
    start: tuple[Int[Array, " units"], ...] | None = None,
    sweeps: int | Int[Array, ""] = 100,
) -> Matching:
    """Permute b's units so that its weights come close to a's; needs no data (Ainsworth et al. 2022, algorithm 1).

    Minimizing ‖a - π(b)‖² is maximizing ⟨a, π(b)⟩. Given all other groups a group's best permutation is a linear
    assignment, solved exactly; this is repeated, group by group, until none changes: a coordinate-wise
    optimum (the joint problem is NP-hard). Where both axes of one weight belong to the same group, the
    assignment is only a linearization; then a step is taken only if the product grows.

    **Arguments:**

    - `symmetry`: of the architecture.
    - `a`, `b`: the networks, pytrees of one structure.
    - `start`: permutations to begin with; none by default. Other starts may end at other optima.
    - `sweeps`: at most so many passes over the groups.
    """

    def improve(group: int, found: tuple[Array, ...], best: Array) -> tuple[tuple[Array, ...], Array]:
        moved = permute(symmetry, b, found)
        gain = _gain(symmetry, group, _factored(symmetry, a), _factored(symmetry, moved))
        order = found[group][assign(gain)]
        proposal = (*found[:group], order, *found[group + 1 :])
        product = _product(a, permute(symmetry, b, proposal))
        # A tie, or less than rounding: stay.
        better = product > best + 1e-6 * jnp.abs(best)
        found, best = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (proposal, product), (found, best)
        )
        return found, best

    def sweep(carry: Any) -> Any:
        found, best, count, _ = carry
        before = best
        for group in range(len(symmetry.sizes)):
            found, best = improve(group, found, best)
        return found, best, count + 1, best > before

    found = identity_permutations(symmetry) if start is None else tuple(start)
    product = _product(a, permute(symmetry, b, found))
    carry = found, product, jnp.zeros((), int), jnp.ones((), bool)
    found, product, count, changed = jax.lax.while_loop(lambda c: c[3] & (c[2] < sweeps), sweep, carry)
    return Matching(found, product, count, ~changed)


def activations(
    model: Callable[[PyTree, PyTree], PyTree], params: PyTree, x: PyTree
) -> list[Float[Array, "samples units"]]:
    """For each group of the model's symmetry, what the next layers read from its units on the input `x`.

    These are the values that a matrix product or a convolution contracts over the group's axis; everything
    else (examples, places in an image, several readers) counts as samples. Where units of other groups are among
    these (the channels of each group of a group normalization), they are sorted, so that their order, which may
    be permuted as well, does not matter.

    **Raises:** `ValueError` if a group's units are read by no matrix product or convolution.
    """
    program = trace(model, params, x)
    labels = label(program)
    number = number_groups(program, labels)
    inputs = len(jax.tree.leaves(x))
    driven = set(range(len(program.leaves), len(program.leaves) + inputs))
    reads: list[dict[tuple[int, int], list[int]]] = [{} for _ in number]
    sizes: dict[int, list[int]] = {}
    for step in program.steps:
        if driven.isdisjoint(step.inputs):
            continue
        driven.update(step.outputs)
        for value, axis in _contractions(step):
            if value not in driven:
                continue
            factors = [resolve(a) for a in labels[value]]
            first = sum(len(f) for f in factors[:axis])
            every = [f for factor in factors for f in factor]
            sizes[value] = [f.size for f in every]
            for place, factor in enumerate(factors[axis], first):
                if factor in number:
                    others = [i for i, f in enumerate(every) if f in number and i != place]
                    reads[number[factor]][value, place] = others
    if unread := [i for i, found in enumerate(reads) if not found]:
        raise ValueError(f"no matrix product or convolution reads the units of group {unread[0]}")
    values = dict(zip(sizes, evaluate(program, params, x, list(sizes))))

    def units(value: int, place: int, others: list[int]) -> Float[Array, "samples units"]:
        shape, last = sizes[value], range(-1 - len(others), 0)
        moved = jnp.moveaxis(values[value].reshape(shape), (place, *others), tuple(last))
        if not others:
            return moved.reshape(-1, shape[place])
        moved = jnp.sort(moved.reshape(-1, shape[place], math.prod(shape[i] for i in others)))
        return moved.swapaxes(1, 2).reshape(-1, shape[place])

    return [jnp.concatenate([units(*read, others) for read, others in found.items()]) for found in reads]


def _contractions(step: Step) -> list[tuple[int, int]]:
    """The operands that a step contracts, and over which axes."""
    if step.name == "dot_general":
        contracted, _ = step.equation.params["dimension_numbers"]
        return [(i, axis) for i, axes in zip(step.inputs, contracted) for axis in axes]
    if step.name == "conv_general_dilated":
        return [(step.inputs[0], step.equation.params["dimension_numbers"].lhs_spec[1])]
    return []


def activation_matching(
    model: Callable[[PyTree, PyTree], PyTree], a: PyTree, b: PyTree, x: PyTree
) -> tuple[Int[Array, " units"], ...]:
    """Permute b's units so that their activations on `x` come close to a's (Ainsworth et al. 2022, section 3.1).

    Each group is one linear assignment, min over P of ‖Z_a - P Z_b‖², whatever the other groups' are.

    **Arguments:**

    - `model`: `(params, x) -> outputs`.
    - `a`, `b`: the networks.
    - `x`: the examples on which they are compared.

    **Returns:** for [`permute`][armillary.merge.permute], in the order of `permutation_symmetry(model, a, x)`.
    """
    return tuple(assign(u.T @ v) for u, v in zip(activations(model, a, x), activations(model, b, x)))
