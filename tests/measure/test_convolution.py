import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.losses import orthogonal_conv
from armillary.measure import conv_matrix, conv_singular_values, orthogonal_conv_exists

SHAPES = [(4, 3, 3, 1), (8, 2, 3, 2), (7, 2, 4, 2), (3, 2, 2, 3), (9, 2, 3, 2), (5, 4, 1, 1)]


def drawn(shape):
    out, into, k, _ = shape
    return np.random.default_rng(0).standard_normal((out, into, k, k)) / k


def by_hand(kernel, size, stride, padding):
    """The layer's matrix from the definition of a convolution, entry by entry."""
    out, into, k, _ = kernel.shape
    n = size // stride
    matrix = np.zeros((out, n, n, into, size, size))
    for i, j, p, q in np.ndindex(n, n, k, k):
        row, column = stride * i + p - (k - 1) // 2, stride * j + q - (k - 1) // 2
        if padding == "circular":
            row, column = row % size, column % size
        if 0 <= row < size and 0 <= column < size:
            matrix[:, i, j, :, row, column] += kernel[:, :, p, q]
    return matrix.reshape(out * n * n, -1)


@pytest.mark.parametrize("padding", ["circular", "zero"])
@pytest.mark.parametrize("shape", SHAPES)
def test_matrix_and_singular_values_from_the_definition(shape, padding):
    kernel, stride = drawn(shape), shape[3]
    size = 6
    expected = by_hand(kernel, size, stride, padding)
    np.testing.assert_allclose(conv_matrix(jnp.array(kernel), size, stride, padding), expected, atol=1e-6)
    values = conv_singular_values(jnp.array(kernel), size, stride, padding)
    np.testing.assert_allclose(values, np.linalg.svd(expected, compute_uv=False), atol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_penalty_is_the_distance_from_orthogonality_per_output_pixel(shape):
    """Of the rows or of the columns, whichever are fewer; in double precision, on the smallest image allowed."""
    out, into, k, stride = shape
    size = -(-(2 * k - 1) // stride) * stride
    kernel = drawn(shape)
    matrix = by_hand(kernel, size, stride, "circular")
    gram = matrix @ matrix.T if out <= into * stride**2 else matrix.T @ matrix
    defect = np.sum((gram - np.eye(len(gram))) ** 2)
    with jax.enable_x64(True):
        penalty = orthogonal_conv(jnp.array(kernel), stride)
        assert defect == pytest.approx((size // stride) ** 2 * float(penalty), rel=1e-12)


def test_existence():
    """Kernels that exist: a lone tap; kernels that cannot: the rank and the gaps forbid them."""
    assert orthogonal_conv_exists(4, 4, 3)
    assert orthogonal_conv_exists(36, 4, 3, 4)
    assert not orthogonal_conv_exists(37, 4, 3, 4)
    assert orthogonal_conv_exists(40, 4, 5, 4)
    assert not orthogonal_conv_exists(100, 4, 3, 4)  # columns: pixels that no output sees
    tap = jnp.zeros((6, 4, 3, 3)).at[:, :, 1, 1].set(jnp.eye(6, 4))
    assert float(orthogonal_conv(tap)) == 0
    assert float(orthogonal_conv(tap.at[0].multiply(2.0))) == 9


def test_errors():
    kernel = jnp.ones((2, 2, 3, 3))
    with pytest.raises(ValueError, match="size=7 is no multiple of stride=2"):
        conv_matrix(kernel, 7, 2)
    with pytest.raises(ValueError, match="padding='same' is neither"):
        conv_singular_values(kernel, 8, padding="same")
    with pytest.raises(ValueError, match="size=2 is smaller than the kernel, 3"):
        conv_singular_values(kernel, 2)
    with pytest.raises(ValueError, match="square kernel"):
        orthogonal_conv(jnp.ones((2, 2, 3, 1)))
