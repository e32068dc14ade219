import numpy as np
import pytest

from armillary.nn.batch_last import batch_last_product


@pytest.mark.parametrize("rows", [3, 12])  # written out, and not
@pytest.mark.parametrize("batches", [(7, 7), (1, 7), (7, 1)])
def test_products_are_numpy_s(rows, batches):
    rng = np.random.default_rng(0)
    a = rng.normal(size=(rows, 20, batches[0])).astype(np.float32)
    b = rng.normal(size=(20, 4, batches[1])).astype(np.float32)
    expected = np.moveaxis(np.moveaxis(a, -1, 0) @ np.moveaxis(b, -1, 0), 0, -1)
    np.testing.assert_allclose(batch_last_product(a, b), expected, rtol=1e-4, atol=1e-5)
