"""The small tables that come with scikit-learn."""

from typing import Literal

import numpy as np
from jaxtyping import Float, Shaped

Table = Literal["iris", "wine", "breast_cancer", "diabetes"]


def table(name: Table) -> tuple[Float[np.ndarray, "rows columns"], Shaped[np.ndarray, " rows"]]:
    """A table of scikit-learn: `iris`, `wine`, `breast_cancer` (classes) or `diabetes` (regression).

    Rows × columns: 150 × 4, 178 × 13, 569 × 30 and 442 × 10. Sources: Fisher (1936); UCI Wine and Breast
    Cancer Wisconsin (CC BY 4.0); Efron et al., "Least Angle Regression" (2004).

    **Returns:** columns of mean 0 and standard deviation 1, float32; and the target: class numbers, int32, or
    for `diabetes` the progression of the disease, float32, also standardized.

    **Raises:** `ValueError` for another name.
    """
    from sklearn import datasets

    loaders = {n: getattr(datasets, f"load_{n}") for n in Table.__args__}  # type: ignore[attr-defined]
    if name not in loaders:
        raise ValueError(f"no table {name!r}; there are {', '.join(loaders)}")
    x, y = loaders[name](return_X_y=True)
    x = ((x - x.mean(0)) / x.std(0)).astype(np.float32)
    if name == "diabetes":
        return x, ((y - y.mean()) / y.std()).astype(np.float32)
    return x, y.astype(np.int32)
