import jax
import jax.numpy as jnp
import numpy as np

from armillary.nn import attention_average


def test_value_and_derivative_are_those_of_softmax():
    rng = np.random.default_rng(0)
    logits, values = jnp.array(rng.normal(size=(2, 3, 4)))
    plain = lambda a, v: jnp.sum(jnp.sum(jax.nn.softmax(a) * v, -1) ** 2)
    ours = lambda a, v: jnp.sum(attention_average(a, v) ** 2)
    np.testing.assert_allclose(ours(logits, values), plain(logits, values), rtol=1e-5)
    for argument in (0, 1):
        np.testing.assert_allclose(
            jax.grad(ours, argument)(logits, values), jax.grad(plain, argument)(logits, values), atol=1e-6
        )


def test_the_derivative_survives_saturation():
    # two tokens: slope ±p(1 - p)(v₁ - v₂), here exp(-40) times the difference, far below the rounding of 1
    slope = jax.grad(attention_average)(jnp.array([0.0, -40.0]), jnp.array([0.3, 1.1]))
    np.testing.assert_allclose(slope, [-0.8 * np.exp(-40), 0.8 * np.exp(-40)], rtol=1e-5)
    # softmax leaves the first of them to rounding
    plain = jax.grad(lambda a: jax.nn.softmax(a) @ jnp.array([0.3, 1.1]))(jnp.array([0.0, -40.0]))
    assert abs(plain[0] / plain[1] + 1) > 0.5
