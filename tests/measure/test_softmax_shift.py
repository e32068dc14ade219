import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax

from armillary.measure import softmax_shift, spectral_norm


def test_the_shifted_targets_have_the_new_residual():
    rng = np.random.default_rng(0)
    a, x, b = rng.normal(size=(5, 3)), rng.normal(size=3), rng.normal(size=5)
    step, update = 0.3 * rng.normal(size=3), 0.3 * rng.normal(size=(5, 3))
    for change, after, bound in (
        ({"weights": x + step}, a @ (x + step), np.linalg.norm(a, 2) * np.linalg.norm(step) / 2),
        ({"matrix": a + update}, (a + update) @ x, np.linalg.norm(update, 2) * np.linalg.norm(x) / 2),
    ):
        found = softmax_shift(jnp.array(a), jnp.array(x), **{k: jnp.array(v) for k, v in change.items()})
        np.testing.assert_allclose(softmax(a @ x) - (b + found.shift), softmax(after) - b, atol=1e-6)
        np.testing.assert_allclose(found.bound, bound, rtol=1e-5)
        assert np.linalg.norm(found.shift) <= found.bound
    with pytest.raises(ValueError, match="give either"):
        softmax_shift(jnp.array(a), jnp.array(x))


def test_two_opposed_rows_attain_the_bound():
    a = jnp.array([[3.0, 0], [-3.0, 0]])
    found = softmax_shift(a, jnp.array([-1e-2, 5.0]), weights=jnp.array([1e-2, 5.0]))
    np.testing.assert_allclose(jnp.linalg.norm(found.shift), found.bound, rtol=1e-3)


def test_spectral_norm():
    for shape in ((2, 6, 4), (2, 4, 6)):
        a = np.random.default_rng(0).normal(size=shape)
        np.testing.assert_allclose(
            jax.vmap(spectral_norm)(jnp.array(a)), np.linalg.norm(a, 2, axis=(1, 2)), rtol=1e-5
        )
