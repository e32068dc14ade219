"""Linear separability by linear program."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped


class Separability(NamedTuple):
    """Whether a plane separates two classes, and a plane that does."""

    separable: bool
    margin: float
    """Smallest yᵢ xᵢ·θ / ‖θ‖: a lower bound on the largest margin, within √d of it; 0 if not separable."""
    theta: Float[np.ndarray, " d"]


def separability(
    x: Float[np.ndarray, "n d"], y: Shaped[np.ndarray, " n"], *, tolerance: float = 1e-9
) -> Separability:
    """Whether some θ has yᵢ xᵢ·θ > 0 for every example: your data's, or your last layer's features'.

    Solves max t subject to yᵢ xᵢ·θ ≥ t and |θⱼ| ≤ 1 (HiGHS). No bias: append a column of ones for one.

    **Arguments:**

    - `x`: one row an example.
    - `y`: two different values; the larger is the positive class.
    - `tolerance`: the smallest t, relative to the largest ‖xᵢ‖, that counts as separating.

    **Raises:** `ValueError` if `y` has not exactly two values; `RuntimeError` if the solver gives up.
    """
    from scipy.optimize import linprog

    x, values = np.asarray(x, float), np.unique(y)
    if len(values) != 2:
        raise ValueError(f"y must have two values, not {len(values)}")
    z = np.where(np.asarray(y) == values[1], 1.0, -1.0)[:, None] * x
    dim = x.shape[1]
    scale = np.linalg.norm(z, axis=1).max()
    result = linprog(
        np.r_[np.zeros(dim), -1.0],
        A_ub=np.c_[-z / scale, np.ones(len(z))],
        b_ub=np.zeros(len(z)),
        bounds=[(-1, 1)] * dim + [(0, None)],
    )
    if result.x is None:
        raise RuntimeError(f"the linear program was not solved: {result.message}")
    theta = result.x[:dim]
    if not result.x[dim] > tolerance:
        return Separability(False, 0.0, theta)
    return Separability(True, float((z @ theta).min() / np.linalg.norm(theta)), theta)
