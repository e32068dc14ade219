"""Deep linear networks: products of matrices, as stacks that a loop can run over."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key


def end_to_end(weights: Sequence[Float[Array, "*layers out into"]]) -> Float[Array, "last first"]:
    """The matrix W_L ⋯ W₂ W₁ that a deep linear network multiplies its input by.

    **Arguments:**

    - `weights`: the layers' matrices, input side first; a stack of square ones stands for so many layers, and is
      looped over instead of unrolled. The product is built from the output side: few outputs make it cheap.
    """
    *rest, product = weights
    if product.ndim == 3:
        rest.append(product[:-1])
        product = product[-1]
    for weight in reversed(rest):
        if weight.ndim == 3:
            product, _ = jax.lax.scan(lambda p, w: (p @ w, None), product, weight, reverse=True)
        else:
            product = product @ weight
    return product


def orthogonal(key: Key[Array, ""], rows: int, columns: int) -> Float[Array, "rows columns"]:
    """A random matrix with orthonormal rows or columns, whichever are fewer, uniformly distributed (Haar).

    A start from which the signal of a linear network keeps its length at any depth: "Exact solutions to the
    nonlinear dynamics of learning in deep linear neural networks" (2013), section 3.

    JAX's `jax.random.orthogonal`, except that under `vmap` it goes matrix by matrix: batched decompositions on two
    devices can stop for good (see `measure.eigen`).
    """
    size, fewer = max(rows, columns), min(rows, columns)
    tall = _orthonormal_columns(jax.random.normal(key, (size, fewer)))
    return tall if rows >= columns else tall.T


@jax.custom_batching.sequential_vmap
def _orthonormal_columns(normal: Array) -> Array:
    q, r = jnp.linalg.qr(normal)
    # LAPACK's signs depend on the matrix; with R's diagonal positive the factor is unique, hence uniform.
    return q * jnp.where(jnp.diagonal(r) < 0, -1, 1)
