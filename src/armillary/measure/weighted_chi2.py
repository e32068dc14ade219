"""How improbable a small sum of squares is."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def weighted_chi2_log_cdf(
    weights: Float[Array, " terms"], x: float | Float[Array, ""], *, steps: int = 100
) -> Float[Array, ""]:
    """log P(Σ wᵢ zᵢ² ≤ x) of independent standard normals z, for x below the mean Σ wᵢ; by saddle point.

    Lugannani and Rice 1980, "Saddle point approximation for the distribution of the sum of independent random
    variables": the relative error of P falls with the number of terms, in the tail as well, where sampling cannot
    go (1% of P at six equal terms, measured).

    **Arguments:**

    - `weights`: not negative; zeros do not matter. Use 64-bit floats where P is below 1e-30.
    - `x`: positive and less than the weights' sum; else NaN.
    - `steps`: of the bisection for the saddle point.
    """
    # K(t) = -½ Σ log(1 - 2 t w) has K'(t) = x at some t < 0, with |t| no larger than (number of terms) / 2x.
    slope = lambda t: jnp.sum(weights / (1 - 2 * t * weights))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = slope(middle) > x
        return jnp.where(above, low, middle), jnp.where(above, middle, high)

    start = (-jnp.asarray(weights.size / (2 * x), weights.dtype), jnp.zeros((), weights.dtype))
    t = jnp.mean(jnp.stack(jax.lax.fori_loop(0, steps, halve, start)))
    generating = -jnp.sum(jnp.log1p(-2 * t * weights)) / 2
    curvature = 2 * jnp.sum((weights / (1 - 2 * t * weights)) ** 2)
    return lugannani_rice(t, x, generating, curvature)


def lugannani_rice(t: Array, x: Array | float, generating: Array, curvature: Array) -> Array:
    """log P(sum ≤ x) from the saddle point t < 0, K(t) and K''(t)."""
    r = -jnp.sqrt(2 * (t * x - generating))
    v = t * jnp.sqrt(curvature)
    log_density = -(r**2) / 2 - jnp.log(2 * jnp.pi) / 2
    # Φ(r) + φ(r) (1/r - 1/v), with φ(r) taken out: it underflows far out, where Φ/φ is -1/r + 1/r³.
    mills = jnp.exp(jax.scipy.stats.norm.logcdf(r) - log_density) + 1 / r
    return log_density + jnp.log(jnp.where(r < -30, 1 / r**3, mills) - 1 / v)
