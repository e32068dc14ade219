"""Standard errors of statistics that have no formula of their own."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Jackknife(NamedTuple):
    """A statistic and its standard error; inf where it does not exist without every group."""

    value: float
    error: float


def jackknife(statistic: Callable[[np.ndarray], float], examples: int, *, groups: int = 10) -> Jackknife:
    """A statistic of all examples, with its standard error from leaving out one group after another.

    "The Jackknife, the Bootstrap and Other Resampling Plans" (Efron 1982, chapter 3). Biased upward rather than
    downward, and not for medians or extremes.

    **Arguments:**

    - `statistic`: `(indices of the examples to use) -> number`.
    - `examples`: how many there are.
    - `groups`: every `groups`-th example is left out together; at most the number of examples.
    """
    every = np.arange(examples)
    groups = min(groups, examples)
    without = np.array([statistic(every[every % groups != g]) for g in range(groups)], float)
    return _jackknife(float(statistic(every)), without)


def leave_one_out(value: float, without: Float[np.ndarray, " examples"]) -> Jackknife:
    """The same where the statistic without each single example is known in closed form."""
    return _jackknife(value, np.asarray(without, float))


def _jackknife(value: float, without: np.ndarray) -> Jackknife:
    n = len(without)
    if n < 2 or not np.isfinite(without).all():
        return Jackknife(value, np.inf)
    return Jackknife(value, float(np.sqrt((n - 1) / n * ((without - without.mean()) ** 2).sum())))
