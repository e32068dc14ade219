import jax
import jax.numpy as jnp
import numpy as np
from sklearn.linear_model import Ridge

from armillary.measure import approximation_errors, bandwidth_floor
from armillary.nn import RandomFeatures


def test_errors_are_those_of_sklearn():
    with jax.enable_x64(True):
        x = jnp.linspace(-3, 3, 300)[:, None]
        y = jnp.concatenate([jnp.sin(4 * x), jnp.exp(-(x**2))], 1)
        h = RandomFeatures(jax.random.key(0), 40, 5.0, box=3.0)(x)
        found = approximation_errors(h, y, (10, 40), penalty=1e-3)
        alpha = 1e-3 * float(jnp.mean(jnp.sum(h**2, 0)))
    for i, width in enumerate((10, 40)):
        fit = Ridge(alpha=alpha, fit_intercept=False).fit(h[:, :width], y)
        left = np.asarray(y) - fit.predict(h[:, :width])
        expected = np.linalg.norm(left, axis=0) / np.linalg.norm(y, axis=0)
        np.testing.assert_allclose(found[i], expected, rtol=1e-6)


def test_features_lie_where_they_should():
    features = RandomFeatures(
        jax.random.key(1), 4000, 2.0, box=jnp.array([1.0, 3.0]), inputs=2, activation=jnp.tanh
    )
    assert 1.95 < float(abs(features.slopes).max()) <= 2
    reach = abs(features.slopes) @ jnp.array([1.0, 3.0])
    assert np.all(abs(features.offsets) <= reach)
    assert abs(float(jnp.mean(abs(features.offsets) / reach)) - 0.5) < 0.02
    x = np.array([0.3, -1.0])
    expected = np.tanh(features.slopes @ x - features.offsets)
    np.testing.assert_allclose(features(jnp.array(x)), expected, atol=1e-6)


def test_a_sine_needs_its_frequency():
    with jax.enable_x64(True):
        x = jnp.linspace(-3, 3, 400)[:, None]
        y = jnp.sin(2 * jnp.pi * x) * jnp.exp(-(x**2) / 2)
        features = lambda r: RandomFeatures(jax.random.key(0), 128, r, box=3.0)(x)
        errors = np.asarray(bandwidth_floor(features, y, jnp.array([0.1, 1.0]) * 2 * jnp.pi, (64, 128)))
    assert errors.shape == (2, 2, 1)
    assert np.all(errors[0] > 0.95)
    assert errors[1, 1, 0] < 0.05
