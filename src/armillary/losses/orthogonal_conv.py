"""A penalty on a convolution's kernel that makes the layer orthogonal, at every image size."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def orthogonal_conv(kernel: Float[Array, "out into size size"], stride: int = 1) -> Float[Array, ""]:
    """‖conv(K, K) − I₀‖² (less `out` − `into`·stride² if that is positive): 0 for an orthogonal convolution, never
    negative.

    conv(K, K) correlates every output's kernel with every other's at all displacements that are multiples of the
    stride, and I₀ is the identity at displacement zero. For circular padding it is the squared Frobenius distance
    of the layer's matrix T from orthogonality per output pixel: ‖TTᵀ − I‖² if out ≤ into·stride² (the rows are
    orthonormal), ‖TᵀT − I‖² else, on images of at least 2·size − 1 a side. It can reach 0 only if
    [`orthogonal_conv_exists`][armillary.measure.orthogonal_conv_exists].

    "Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks" (2021), definition 1 and
    theorem 2; the penalty is that of "Orthogonal Convolutional Neural Networks" (Wang et al. 2020).

    **Arguments:**

    - `kernel`: as Equinox, PyTorch and `jax.lax` have it, outputs first.
    - `stride`: the layer's, the same along both axes.
    """
    out, into, size, wide = kernel.shape
    if size != wide:
        raise ValueError(
            f"kernel has shape {kernel.shape}: a square kernel is needed, (out, into, size, size)"
        )
    if stride < 1:
        raise ValueError(f"stride={stride} must be at least 1")
    # Moved by a multiple of the stride, what of the kernel still lies over itself: a product with ones and zeros.
    zero = (size - 1) // stride
    moved = np.stack([np.eye(size, k=stride * lag) for lag in range(-zero, zero + 1)])
    over = jnp.einsum("ypq,xrs,ocqs->yxocpr", moved, moved, kernel, optimize=True)
    gram = jnp.einsum("yxocpr,ncpr->yxon", over, kernel)
    gram = gram.at[zero, zero].add(-jnp.eye(out))
    return jnp.sum(gram**2) - max(out - into * stride**2, 0)
