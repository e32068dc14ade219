"""A convolution layer as a matrix: its entries, its singular values, and whether it can be orthogonal."""

from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import singular_values

Padding = Literal["circular", "zero"]


def conv_matrix(
    kernel: Float[Array, "out into k k"], size: int, stride: int = 1, padding: Padding = "circular"
) -> Float[Array, "rows columns"]:
    """The matrix T of a layer on images of `size` pixels a side.

    Rows are outputs, `out·(size/stride)²` of them, columns are inputs, `into·size²`; both are ordered channel, row,
    column. The image is padded by (k−1)/2 on either side (by one less before than after if k is even).

    **Raises:** `ValueError` if the stride does not divide the size, or the padding has another name.
    """
    _check(kernel, size, stride, padding)
    into, k = kernel.shape[1], kernel.shape[2]
    images = jnp.eye(into * size**2, dtype=kernel.dtype).reshape(-1, into, size, size)
    before, after = (k - 1) // 2, k // 2
    around = ((0, 0), (0, 0), (before, after), (before, after))
    images = jnp.pad(images, around, mode="wrap" if padding == "circular" else "constant")
    out = jax.lax.conv_general_dilated(images, kernel, (stride, stride), "VALID")
    return out.reshape(len(out), -1).T


def conv_singular_values(
    kernel: Float[Array, "out into k k"], size: int, stride: int = 1, padding: Padding = "circular"
) -> Float[Array, " values"]:
    """All singular values of the layer's matrix, the largest first; for square images of `size` pixels a side.

    With circular padding the Fourier transform takes the matrix apart into (size/stride)² blocks of out ×
    into·stride² (Sedghi, Gupta, Long 2018, "The Singular Values of Convolutional Layers"), so that large images are
    cheap; with zeros it is decomposed whole. Has no reverse-mode derivative.

    **Raises:** `ValueError` if the stride does not divide the size, the padding has another name, or a circular
    image is smaller than the kernel.
    """
    _check(kernel, size, stride, padding)
    if padding == "zero":
        return singular_values(conv_matrix(kernel, size, stride, padding))
    out, into, k, _ = kernel.shape
    n, blocks = size // stride, -(-k // stride)
    # The input's pixels at one residue of the stride are a channel of their own.
    rest = (0, blocks * stride - k)
    parts = jnp.pad(kernel, ((0, 0), (0, 0), rest, rest)).reshape(out, into, blocks, stride, blocks, stride)
    parts = jnp.moveaxis(parts, (2, 4), (-2, -1)).reshape(out, into * stride**2, blocks, blocks)
    transfer = jnp.fft.fft2(parts, (n, n)).transpose(2, 3, 0, 1).reshape(n * n, out, -1)
    return -jnp.sort(-jax.lax.map(lambda block: jnp.linalg.svd(block, compute_uv=False), transfer).ravel())


def orthogonal_conv_exists(out: int, into: int, size: int, stride: int = 1) -> bool:
    """Whether some kernel of this shape makes a circular convolution orthogonal, rows or columns.

    If out ≤ into·stride², rows can be orthonormal exactly when out ≤ into·size²; if out ≥ into·stride², columns
    can exactly when stride ≤ size. "Existence, Stability and Scalability…" (2021), theorem 1.
    """
    if out <= into * stride**2:
        return out <= into * size**2
    return stride <= size


def _check(kernel: Array, size: int, stride: int, padding: str) -> None:
    if padding not in ("circular", "zero"):
        raise ValueError(f"padding={padding!r} is neither 'circular' nor 'zero'")
    if stride < 1 or size % stride:
        raise ValueError(f"size={size} is no multiple of stride={stride}")
    if padding == "circular" and size < kernel.shape[-1]:
        raise ValueError(
            f"size={size} is smaller than the kernel, {kernel.shape[-1]}: it would overlap itself"
        )
