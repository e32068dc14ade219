import jax.numpy as jnp
import numpy as np
import pytest

from armillary.measure import snapshot_rank


def test_a_travelling_sine_needs_two_modes_and_a_standing_one_one():
    x, t = 2 * np.pi * np.arange(128) / 128, np.linspace(0, 1, 101)[:, None]
    assert snapshot_rank(jnp.array(np.sin(x - 30 * t))) == 2
    assert snapshot_rank(jnp.array(np.sin(x) * np.exp(-t))) == 1


@pytest.mark.parametrize("shape", [(40, 90), (90, 40)])
@pytest.mark.parametrize("lost", [1e-1, 1e-2, 1e-4])
def test_it_counts_numpys_singular_values(shape, lost):
    rng = np.random.default_rng(0)
    fields = rng.normal(size=shape) @ np.diag(0.8 ** np.arange(shape[1]))
    energy = np.linalg.svd(fields, compute_uv=False) ** 2
    tails = [energy[n:].sum() / energy.sum() for n in range(1, len(energy) + 1)]
    assert snapshot_rank(jnp.array(fields), lost) == 1 + next(
        n for n, tail in enumerate(tails) if tail <= lost
    )
