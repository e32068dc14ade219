import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.nn import MLP


@pytest.mark.parametrize("bias", [True, False])
def test_forward_is_the_formula(bias):
    model = MLP((3, 5, 4, 2), jax.random.key(0), init="torch", bias=bias, activation=jnp.tanh)
    x = np.random.default_rng(0).normal(size=(6, 7, 3)).astype(np.float32)
    h = x
    for i, w in enumerate(model.weights):
        h = h @ np.asarray(w) + (np.asarray(model.biases[i]) if bias else 0)
        if i < 2:
            h = np.tanh(h)
        if i == 1:
            np.testing.assert_allclose(model.features(x), h, atol=1e-6)
    np.testing.assert_allclose(model(x), h, atol=1e-6)


@pytest.mark.parametrize(("init", "variance"), [("lecun", 1 / 400), ("he", 2 / 400), ("torch", 1 / 1200)])
def test_initial_variances(init, variance):
    model = MLP((400, 300, 1), jax.random.key(1), init=init)
    np.testing.assert_allclose(np.var(model.weights[0]), variance, rtol=0.02)
    assert abs(np.mean(model.weights[0])) < 3 * (variance / 120_000) ** 0.5
    if init == "torch":
        assert np.abs(model.weights[0]).max() <= 1 / 20
    else:
        assert (model.biases[0] == 0).all()
