import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from armillary.measure import coordinate_check
from armillary.nn import MLP, preactivations
from armillary.train import (
    ABC,
    MUP,
    MUP_ADAM,
    NTK,
    STANDARD,
    classify_abc,
    fit,
    layer_scales,
    parametrize,
)

# Wide enough that Equinox's hidden biases, of order n^-½ at the start, hardly add to the coordinates.
WIDTHS = (256, 1024)
X = jax.random.normal(jax.random.key(1), (16, 8))
Y = jnp.sin(X[:, :1])


def ours(width, key):
    return MLP((8, width, width, 1), key, activation=jnp.tanh)


def equinox(width, key):
    return eqx.nn.MLP(8, 1, width, 2, activation=jnp.tanh, key=key)


def square_loss(model, batch):
    return jnp.mean((preactivations(model, batch[0])[-1] - batch[1]) ** 2) / 2


def slopes(make, parametrizations, rates, *, steps=1, optimizer="sgd"):
    """A row a parametrization, in one program: exponents and rates are traced.

    The target is the starting output plus a fixed function: the starting output is random at any width, and
    as a part of the residual it would drown the power in the luck of a few draws.
    """
    stacked = jax.tree.map(lambda *e: jnp.array(e), *parametrizations)

    def run(width):
        def one(abc, rate, key):
            model, scaled, _ = parametrize(make(width, key), abc, optimizer=optimizer)
            chained = optax.chain(getattr(optax, optimizer)(rate), scaled)
            before = preactivations(model, X)
            trained = fit(square_loss, model, (X, before[-1] + Y), chained, steps=steps).params
            return before, preactivations(trained, X)

        keys = jax.random.split(jax.random.key(0), 4)
        seeds = jax.vmap(one, (None, None, 0))
        return jax.jit(jax.vmap(seeds, (0, 0, None)))(stacked, jnp.array(rates), keys)

    runs = {width: run(width) for width in WIDTHS}
    pick = lambda i: lambda width: jax.tree.map(lambda a: a[i], runs[width])
    return np.stack([coordinate_check(pick(i), WIDTHS).slopes for i in range(len(parametrizations))])


@pytest.mark.parametrize("make", [ours, equinox])
def test_one_step_moves_coordinates_by_the_predicted_power_of_width(make):
    # One small step; the gradient at a hidden coordinate is of the output weights' size n^-(a+b). So the input
    # layer moves by n^(-(a+b)_out - 2a_in), the hidden one by n^(1 - (a+b)_out - 2a_hidden) or as the input
    # layer does, whichever is more, and the output by n^(1 - 2a_out).
    predicted = {MUP: (0, 0, 0), NTK: (-0.5, -0.5, 0), STANDARD: (-0.5, 0.5, 1)}
    found = slopes(make, list(predicted), (0.02, 0.02, 1e-5))
    np.testing.assert_allclose(found, list(predicted.values()), atol=0.15)


def test_many_steps_keep_the_powers():
    found = slopes(ours, [MUP, NTK], (0.2, 0.2), steps=10)
    np.testing.assert_allclose(found, [(0, 0, 0), (-0.5, -0.5, 0)], atol=0.1)


def test_mup_is_level_under_adam_too_and_the_standard_one_is_not():
    found = slopes(equinox, [MUP_ADAM, STANDARD], (1e-3, 1e-5), optimizer="adam")
    np.testing.assert_allclose(found[0], 0, atol=0.1)
    # Every weight moves by the rate, with the sign of its gradient: the input layer by 1, the hidden one by n
    # (n features, all in step), the output by n of those moves times n^-½, in step too: n^(3/2).
    np.testing.assert_allclose(found[1], (0, 1, 1.5), atol=0.15)


def abc_network(abc, width, key, steps, rate):
    """The definition itself: train w under W = n^-a w."""
    sizes = ((8, width), (width, width), (width, 1))
    fan = (8**-0.5, 1, 1)
    keys = jax.random.split(key, (3, 2))
    w = [jax.random.normal(k[0], s) * f * width**-b for k, s, f, b in zip(keys, sizes, fan, abc.b)]

    def outputs(w):
        h = X
        for i, matrix in enumerate(w):
            h = h @ (width ** -abc.a[i] * matrix)
            h = jnp.tanh(h) if i < 2 else h
        return h

    gradient = jax.grad(lambda w: jnp.mean((outputs(w) - Y) ** 2) / 2)
    for _ in range(steps):
        w = [m - rate * width**-c * g for m, g, c in zip(w, gradient(w), abc.c)]
    return outputs(w)


@pytest.mark.parametrize("abc", [MUP, NTK, STANDARD, ABC((0.1, 0.2, 0.3), (-0.1, 0.3, 0.6), (0.4,) * 3)])
def test_rescaled_rates_are_the_definition(abc):
    key, width = jax.random.key(3), 32
    model, rates, _ = parametrize(MLP((8, width, width, 1), key, activation=jnp.tanh, bias=False), abc)
    trained = fit(square_loss, model, (X, Y), optax.chain(optax.sgd(0.02), rates), steps=5).params
    expected = abc_network(abc, width, key, 5, 0.02)
    np.testing.assert_allclose(trained(X), expected, rtol=2e-4, atol=2e-5)


def test_what_is_stated():
    layers = layer_scales(MLP((8, 64, 256, 4), jax.random.key(0)), "mup")
    assert [s.kind for s in layers] == ["input", "hidden", "output"]
    np.testing.assert_allclose([s.std for s in layers], [8**-0.5, 64**-0.5, 1 / 256])
    np.testing.assert_allclose([s.rate for s in layers], [64, 1, 1 / 256])
    np.testing.assert_allclose([s.bias_rate for s in layers], [64, 256, 1])
    adam = layer_scales(MLP((8, 64, 256, 4), jax.random.key(0)), "mup", optimizer="adam")
    np.testing.assert_allclose([s.rate for s in adam], [1, 1 / 64, 1 / 256])
    base = layer_scales(ours(64, jax.random.key(0)), "mup", base_width=64)
    assert all(s.rescale == s.rate == s.bias_rate == 1 for s in base)


def test_biases_are_matched_to_their_layers():
    model = eqx.nn.MLP(8, 1, 16, 2, use_bias=True, use_final_bias=False, key=jax.random.key(0))
    _, rates, _ = parametrize(model, "mup")
    ones = jax.tree.map(jnp.ones_like, eqx.filter(model, eqx.is_inexact_array))
    scaled, _ = rates.update(ones, rates.init(ones))
    assert [float(layer.weight[0, 0]) for layer in scaled.layers] == [16, 1, 1 / 16]
    assert [float(layer.bias[0]) for layer in scaled.layers[:-1]] == [16, 16]


def test_the_classification_of_the_paper():
    assert classify_abc(MUP) == ("feature learning", 0)
    assert classify_abc(NTK) == ("kernel", 0.5)
    assert classify_abc(STANDARD).kind == "unstable"
    assert classify_abc(STANDARD._replace(c=(1, 1, 1))) == ("kernel", 0.5)
    assert classify_abc(NTK._replace(c=(1, 1, 1))).kind == "trivial"
    mean_field_like = ABC((0, 1, 1), (0, 0, 0), (-1, -1, -1))
    assert (
        classify_abc(mean_field_like).kind == "unstable"
    )  # the hidden start vanishes: not as the paper asks
    # A shift a+θ, b-θ, c-2θ is the same network (TP4, equation 5).
    shifted = ABC(tuple(a + 0.3 for a in MUP.a), tuple(b - 0.3 for b in MUP.b), (-0.6,) * 3)
    kind, r = classify_abc(shifted)
    assert (kind, round(r, 9)) == ("feature learning", 0)


def test_refusals():
    key = jax.random.key(0)
    with pytest.raises(ValueError, match="hidden layers"):
        layer_scales(MLP((3, 2), key))
    with pytest.raises(ValueError, match="ntk"):
        layer_scales(ours(8, key), "ntk", optimizer="adam")
    with pytest.raises(TypeError, match="Linear"):
        layer_scales(eqx.nn.Linear(3, 2, key=key))
    with pytest.raises(ValueError, match="one c"):
        classify_abc(ABC((0, 0, 0), (0, 0.5, 0.5), (0, 1, 1)))
