"""Coherence of per-example gradients: how many examples one example's step helps.

Source: "On the Generalization Mystery in Deep Learning" (2022), section 2.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from armillary.measure.per_example import per_example_gradients


def _mean(grads: PyTree) -> PyTree:
    return jax.tree.map(lambda g: g.mean(0), grads)


def _inner(a: PyTree, b: PyTree) -> Array:
    return sum(jnp.sum(x * y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b)))  # type: ignore[return-value]


def m_coherence(grads: PyTree[Float[Array, "m ..."]]) -> Float[Array, ""]:
    """m · ‖mean gᵢ‖² / mean ‖gᵢ‖², of m per-example gradients (any pytree with a leading axis of m).

    m where all gradients coincide, 1 where they are orthogonal, 0 where they cancel. NaN if all are zero.

    **Example:**

    ```python
    import jax
    import jax.numpy as jnp
    from armillary.measure import m_coherence, per_example_gradients

    loss = lambda weights, batch: jnp.mean((batch[0] @ weights - batch[1]) ** 2)
    x = jax.random.normal(jax.random.key(0), (64, 5))
    grads = per_example_gradients(loss, jnp.zeros(5), (x, x @ jnp.ones(5)))
    m_coherence(grads)  # 8 examples: one step helps as many of the 64
    ```
    """
    examples = len(jax.tree.leaves(grads)[0])
    mean = _mean(grads)
    return examples**2 * _inner(mean, mean) / _inner(grads, grads)


def m_coherence_streamed(
    loss: Callable[[PyTree, PyTree], Float[Array, ""]], params: PyTree, batch: PyTree, *, micro: int
) -> Float[Array, ""]:
    """[`m_coherence`][armillary.measure.m_coherence] from sums over micro-batches, in their memory.

    **Arguments:**

    - `loss`, `params`, `batch`: as for [`per_example_gradients`][armillary.measure.per_example_gradients].
    - `micro`: how many examples' gradients are held at once.
    """
    examples = len(jax.tree.leaves(batch)[0])
    whole = examples // micro * micro

    def sums(part: PyTree) -> tuple[PyTree, Array]:
        grads = per_example_gradients(loss, params, part)
        return jax.tree.map(lambda g: g.sum(0), grads), _inner(grads, grads)

    add = lambda total, part: (jax.tree.map(jnp.add, total, sums(part)), None)
    parts = jax.tree.map(lambda x: x[:whole].reshape(-1, micro, *x.shape[1:]), batch)
    total, squares = sums(jax.tree.map(lambda x: x[whole:], batch))
    (total, squares), _ = jax.lax.scan(add, (total, squares), parts)
    return _inner(total, total) / squares


def m_coherence_two_batches(
    first: PyTree[Float[Array, "a ..."]], second: PyTree[Float[Array, "b ..."]], examples: int
) -> Float[Array, ""]:
    """The m-coherence of a data set of m examples, estimated from two disjoint random batches of it.

    1 + (m - 1) N / D, where N = ⟨mean of the first, mean of the second⟩ is an unbiased estimate of the mean
    of ⟨gᵢ, gⱼ⟩ over i ≠ j, and D, the mean of ‖g‖² over both batches, of the mean of ‖gᵢ‖². (The ratio is
    consistent, not unbiased.)

    """
    sizes = len(jax.tree.leaves(first)[0]) + len(jax.tree.leaves(second)[0])
    squared = (_inner(first, first) + _inner(second, second)) / sizes
    return 1 + (examples - 1) * _inner(_mean(first), _mean(second)) / squared


def example_overlap(grads: PyTree[Float[Array, "m ..."]]) -> Float[Array, " m"]:
    """Each example's cosine with the sum of all the others' gradients, in [-1, 1].

    A score of difficulty and of label noise: an example whose step the others' steps undo is below 0.
    """
    leaves = jax.tree.leaves(jax.tree.map(lambda g: g.reshape(len(g), -1), grads))
    squared = sum(jnp.sum(g**2, 1) for g in leaves)
    with_sum = sum(g @ g.sum(0) for g in leaves)
    total = sum(jnp.sum(g.sum(0) ** 2) for g in leaves)
    # ⟨gᵢ, S - gᵢ⟩ and ‖S - gᵢ‖² from ⟨gᵢ, S⟩, ‖gᵢ‖² and ‖S‖²: the others' sums are never stored.
    others = jnp.maximum(total - 2 * with_sum + squared, 0)
    scale = jnp.sqrt(squared * others)
    return jnp.where(scale > 0, (with_sum - squared) / jnp.where(scale > 0, scale, 1), 0.0)
