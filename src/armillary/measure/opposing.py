"""Examples whose losses swing during training, and groups of them that swing against each other."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int


def most_swinging(losses: Float[Array, "steps examples"], count: int) -> Int[Array, "changes count"]:
    """Which examples' losses each step changed most, either way, as indices, the largest change first.

    "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization" (2023), section 2.

    **Arguments:**

    - `losses`: every example's loss before each step.
    - `count`: how many examples.

    **Returns:** a row a change, one fewer than steps.
    """
    return jax.lax.top_k(jnp.abs(jnp.diff(losses, axis=0)), count)[1]


def alternation(
    first: Float[np.ndarray, " steps"], second: Float[np.ndarray, " steps"], window: int = 10
) -> float:
    """Spearman's correlation over steps of two groups' loss changes, each less its running mean: -1 where one rises
    exactly when the other falls.

    **Arguments:**

    - `first`, `second`: the groups' mean loss changes.
    - `window`: steps of the running mean; the steps for which it is not whole are left out.
    """
    from scipy.stats import spearmanr

    def rest(values: np.ndarray) -> np.ndarray:
        mean = np.convolve(values, np.full(window, 1 / window), "valid")
        return np.asarray(values)[window // 2 : window // 2 + len(mean)] - mean

    return float(spearmanr(rest(first), rest(second)).statistic)
