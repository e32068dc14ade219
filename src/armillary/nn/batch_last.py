"""Products of many tiny matrices, the batch last.

A batched product of tiny matrices is one call a matrix to XLA's CPU compiler. With the batch last, and the sum over the
contracted axis written out, it is one loop over vectors: 8 times as fast at 5 × 5. Beyond 6 × 6 that is too much to
compile, and the matrices are no longer tiny.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

TINY = 6
"""The most rows and columns of a product that is written out."""


def batch_last_product(
    a: Float[Array, "i j #batch"], b: Float[Array, "j k #batch"]
) -> Float[Array, "i k batch"]:
    """The matrix products of `a[..., n]` and `b[..., n]`; a last axis of 1 stands for the same matrix everywhere."""
    if max(len(a), b.shape[1]) > TINY:
        count = max(a.shape[-1], b.shape[-1])
        a, b = (jnp.broadcast_to(m, (*m.shape[:2], count)) for m in (a, b))
        return jnp.einsum("ijn,jkn->ikn", a, b)
    return sum((a[:, j, None] * b[None, j] for j in range(1, len(b))), a[:, 0, None] * b[None, 0])
