"""How many basis functions a moving field needs."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from armillary.measure.eigen import eigvalsh


def snapshot_rank(snapshots: Float[Array, "times points"], lost: float = 1e-4) -> Int[Array, ""]:
    """The least number of modes that keep all but a share `lost` of the snapshots' energy (sum of squares).

    A proxy, by proper orthogonal decomposition, of the Kolmogorov n-width that Lagrangian PINNs (2022) hold
    responsible for failures. From the eigenvalues of the smaller Gram matrix; shares under about 1e-6 are
    below its resolution in 32-bit precision.
    """
    wide = snapshots.shape[0] <= snapshots.shape[1]
    gram = snapshots @ snapshots.T if wide else snapshots.T @ snapshots
    energy = jnp.maximum(eigvalsh(gram)[::-1], 0)
    # Kept by n modes: the n largest; the first n at which enough is kept.
    kept = jnp.cumsum(energy) >= (1 - lost) * energy.sum()
    return jnp.argmax(kept) + 1
