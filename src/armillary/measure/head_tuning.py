"""The risk of a linear head on frozen features, by how many of them it may use."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from armillary.measure.eigen import eigh


def head_tuning_risk(
    features: Float[Array, "samples features"],
    targets: Float[Array, " samples"],
    queries: Float[Array, "queries features"],
    answers: Float[Array, " queries"],
    sizes: Sequence[int],
    *,
    penalties: float | Float[Array, " sizes"] = 0.0,
) -> Float[Array, " sizes"]:
    """The mean squared error at the queries of a linear head that uses the first 0, 1, … features.

    Fitted by least squares, of minimum norm where the features outnumber the samples: the double-descent curve of a
    linear probe. "Investigating the Impact of Model Complexity in Large Language Models" (2024).

    **Arguments:**

    - `features`, `targets`: the labelled samples. There is no intercept: centre them.
    - `queries`, `answers`: what the head is tested on.
    - `sizes`: how many features to use.
    - `penalties`: of ridge regression, λ in ‖y - Xw‖² + λ‖w‖², one for all sizes or one a size; may be traced.

    **Example:**

    ```python
    import jax
    from armillary.measure import head_tuning_risk

    x = jax.random.normal(jax.random.key(0), (500, 80))
    y = x @ jax.random.normal(jax.random.key(1), (80,)) + jax.random.normal(jax.random.key(2), (500,))
    head_tuning_risk(x[:40], y[:40], x[40:], y[40:], (0, 10, 40, 80))  # the largest at 40 features
    ```
    """
    rank = jnp.arange(len(features))

    def risk(case: tuple[Array, Array]) -> Array:
        size, penalty = case
        used = features * (jnp.arange(features.shape[1]) < size)
        values, vectors = eigh(used @ used.T)
        # Directions that the used features span, by their number: their eigenvalues may be as small as rounding.
        spanned = rank >= len(rank) - size
        inverse = jnp.where(spanned, 1 / jnp.where(spanned, values + penalty, 1), 0)
        head = used.T @ (vectors @ (inverse * (vectors.T @ targets)))
        return jnp.mean((queries @ head - answers) ** 2)

    return jax.lax.map(risk, (jnp.array(sizes), jnp.broadcast_to(penalties, len(sizes))))


def isotropic_double_descent(
    sizes: Sequence[int],
    samples: int,
    features: int,
    signal: float | Float[Array, ""],
    noise: float | Float[Array, ""],
) -> Float[Array, " sizes"]:
    """The expected test error of least squares on p of D independent standard Gaussian features.

    With the signal spread evenly, r = p/D of it inside the p features and the rest a further noise ("Two Models of Double
    Descent for Weak Features", Belkin, Hsu, Xu 2019, theorem 1):
    (signal (1 - r) + noise)(1 + p/(n - p - 1)) for p ≤ n - 2, infinite for n - 1 ≤ p ≤ n + 1, and
    signal r (1 - n/p) + (signal (1 - r) + noise)(1 + n/(p - n - 1)) for p ≥ n + 2.

    **Arguments:**

    - `sizes`: p.
    - `samples`: n.
    - `features`: D.
    - `signal`: E(y - noise)², over all features.
    - `noise`: the variance of what no feature explains; in the test error too.
    """
    p = jnp.array(sizes, float)
    inside = signal * p / features
    outside = signal - inside + noise
    gap = abs(p - samples) - 1
    finite = jnp.where(gap > 0, 1 + jnp.minimum(p, samples) / jnp.where(gap > 0, gap, 1), jnp.inf)
    return inside * jnp.maximum(0, 1 - samples / jnp.maximum(p, 1)) + outside * finite
