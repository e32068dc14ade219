import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.merge import (
    SymmetryError,
    permutation_symmetry,
    permute,
    random_permutations,
)
from armillary.nn import MLP

MODEL = lambda params, x: params(x)
KEY = jax.random.key(0)


def conv(x, kernel, *, stride=1, groups=1):
    return jax.lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=groups,
    )


def layer_norm(x, scale, shift):
    return (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5) * scale + shift


def batch_norm(x, scale, shift):
    axes = (0, 1, 2)
    return (x - x.mean(axes)) * jax.lax.rsqrt(x.var(axes) + 1e-5) * scale + shift


def group_norm(x, scale, shift, groups):
    y = x.reshape(*x.shape[:-1], groups, -1)
    y = (y - y.mean((1, 2, 4), keepdims=True)) / jnp.sqrt(y.var((1, 2, 4), keepdims=True) + 1e-5)
    return y.reshape(x.shape) * scale + shift


SHAPES = {
    "stem": (3, 3, 2, 6),
    "bn": (2, 6),
    "one": (3, 3, 6, 8),
    "ln": (2, 8),
    "two": (3, 3, 8, 6),
    "depth": (3, 3, 1, 12),
    "gn": (2, 12),
    "grouped": (1, 1, 4, 9),
    "dense": (2 * 2 * 9, 5),
    "bias": (5,),
    "head": (5, 3),
}


def residual_net(p, x):
    """Stem, residual block with both norms, depthwise and grouped convolutions, pooling, a flattened head."""
    stream = jax.nn.relu(batch_norm(conv(x, p["stem"]), *p["bn"]))
    inner = jax.nn.gelu(layer_norm(conv(stream, p["one"]), *p["ln"]))
    stream = stream + conv(inner, p["two"])
    deep = jax.nn.silu(group_norm(conv(stream, p["depth"], groups=6), *p["gn"], groups=3))
    deep = jnp.tanh(conv(deep, p["grouped"], groups=3))
    pooled = jax.lax.reduce_window(deep, -jnp.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    hidden = jax.nn.softplus(pooled.reshape(x.shape[0], -1) @ p["dense"] + p["bias"])
    return jax.nn.log_softmax(hidden @ p["head"])


def draw(shapes, seed=0):
    random = np.random.default_rng(seed)
    return {name: jnp.array(random.normal(size=shape), jnp.float32) for name, shape in shapes.items()}


def members(symmetry):
    return [{(p.leaf, p.axis) for p in places} for places in symmetry.places]


def assert_invariant(model, params, x, symmetry, tries=5):
    @eqx.filter_jit
    def outputs(params, key):
        moved = permute(symmetry, params, random_permutations(symmetry, key))
        return model(moved, x), jax.tree.map(lambda a, b: jnp.any(a != b), *map(arrays, (moved, params)))

    arrays = lambda tree: jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    before = eqx.filter_jit(model)(params, x)
    for key in jax.random.split(KEY, tries):
        after, changed = outputs(params, key)
        assert any(changed)
        np.testing.assert_allclose(after, before, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("activation", [jax.nn.relu, jnp.tanh, jax.nn.gelu, jax.nn.softplus])
def test_the_groups_of_a_perceptron_are_its_hidden_layers(activation):
    net = MLP((3, 4, 5, 2), KEY, activation=activation, init="torch")
    x = jax.random.normal(KEY, (7, 3))
    symmetry = permutation_symmetry(MODEL, net, x)
    assert symmetry.sizes == (4, 5)
    assert members(symmetry) == [
        {(".weights[0]", 1), (".biases[0]", 0), (".weights[1]", 0)},
        {(".weights[1]", 1), (".biases[1]", 0), (".weights[2]", 0)},
    ]
    assert_invariant(MODEL, net, x, symmetry)
    batched = permutation_symmetry(lambda net, x: jax.vmap(jax.jit(lambda row: net(row)))(x), net, x)
    assert batched == symmetry


def test_residual_network_with_every_normalization_keeps_its_function():
    params, x = draw(SHAPES), jax.random.normal(KEY, (4, 4, 4, 2))
    symmetry = permutation_symmetry(residual_net, params, x)
    assert_invariant(residual_net, params, x, symmetry)
    stream = {("['stem']", 3), ("['bn']", 1), ("['one']", 2), ("['two']", 3), ("['depth']", 3)}
    found = members(symmetry)
    # The grouped convolution (3 groups) and the group normalization factor the 12 channels of the depthwise
    # one as 3 × 2 × 2, and so the stream's 6 as 3 × 2: which group, and which channel inside it.
    assert sum(stream <= group for group in found) == 2
    assert {("['one']", 3), ("['ln']", 1), ("['two']", 2)} in found
    assert {("['dense']", 1), ("['bias']", 0), ("['head']", 0)} in found
    assert sorted(symmetry.sizes) == [2, 2, 3, 3, 5, 8]
    assert symmetry.axes["['dense']"][0] == ((None, 4), *symmetry.axes["['grouped']"][3])
    assert [group for axis in symmetry.axes["['head']"][1:] for group, _ in axis] == [None]


def test_every_permutation_that_a_small_network_allows_is_found_and_no_other():
    """A residual stream with a normalization, against brute force over all permutations of all axes."""

    def model(p, x):
        stream = x @ p["in"]
        inner = jax.nn.relu(layer_norm(stream, 1.0, 0.0) @ p["up"])
        return (stream + inner @ p["down"]) @ p["out"]

    params = draw({"in": (2, 3), "up": (3, 2), "down": (2, 3), "out": (3, 2)})
    x = jax.random.normal(KEY, (5, 2))
    symmetry = permutation_symmetry(model, params, x)
    assert sorted(symmetry.sizes) == [2, 3]
    assert {("['in']", 1), ("['up']", 0), ("['down']", 1), ("['out']", 0)} in members(symmetry)
    assert_invariant(model, params, x, symmetry)

    # Of the 2⁴·6⁴ ways to permute the eight axes those that keep the function are the group's 3!·2!.
    orders = [np.array(list(itertools.permutations(range(n)))) for w in params.values() for n in w.shape]
    which = np.meshgrid(*(np.arange(len(o)) for o in orders), indexing="ij")
    every = [jnp.array(o[w.ravel()]) for o, w in zip(orders, which)]
    before = model(params, x)

    def error(*order):
        pairs = zip(params.items(), zip(order[::2], order[1::2]))
        return jnp.abs(model({n: w[rows][:, columns] for (n, w), (rows, columns) in pairs}, x) - before).max()

    assert int((jax.jit(jax.vmap(error))(*every) < 1e-4).sum()) == 12


def test_weight_sharing_and_attention_tie_heads_and_their_units():
    def attention(p, x):
        q, k, v = ((x @ p[n]).reshape(*x.shape[:-1], 3, 4) for n in "qkv")
        weights = jax.nn.softmax(jnp.einsum("bihd,bjhd->bhij", q, k))
        return jnp.einsum("bhij,bjhd->bihd", weights, v).reshape(*x.shape[:-1], 12) @ p["o"]

    params = draw({"q": (5, 12), "k": (5, 12), "v": (5, 12), "o": (12, 5)})
    x = jax.random.normal(KEY, (2, 6, 5))
    symmetry = permutation_symmetry(attention, params, x)
    # Heads, the units inside queries and keys, the units inside values and outputs.
    assert sorted(symmetry.sizes) == [3, 4, 4]
    assert_invariant(attention, params, x, symmetry)


def test_position_pins_an_axis():
    params = draw({"a": (3, 4), "b": (4, 5), "c": (5, 2)})
    x = jax.random.normal(KEY, (6, 3))
    for mark in (jnp.cumsum(jnp.ones(4)), lambda h: h * jnp.arange(4.0), lambda h: h[:, ::-1]):
        use = mark if callable(mark) else (lambda h, m=mark: h + m)
        model = lambda p, x, use=use: jnp.tanh(use(jnp.tanh(x @ p["a"])) @ p["b"]) @ p["c"]
        symmetry = permutation_symmetry(model, params, x)
        assert symmetry.sizes == (5,)
        assert_invariant(model, params, x, symmetry)


def test_refusal_names_primitive_and_parameters():
    params = draw({"first": (3, 4), "second": (4, 2), "other": (2, 2)})
    x = jax.random.normal(KEY, (6, 3))
    model = lambda p, x: jnp.sort(x @ p["first"]) @ p["second"] @ p["other"]
    with pytest.raises(SymmetryError, match=r"'sort'.*\['first'\] axis 1") as error:
        permutation_symmetry(model, params, x)
    assert "other" not in str(error.value)
    with pytest.raises(SymmetryError, match=r"'reshape'.*\['first'\] axis 1"):
        permutation_symmetry(lambda p, x: (x @ p["first"]).reshape(4, 6), params, x)
    # What no unit of a hidden layer reaches may be anything.
    fine = lambda p, x: jax.nn.relu(jnp.sort(x) @ p["first"]) @ p["second"]
    assert permutation_symmetry(fine, params, x).sizes == (4,)


def test_works_on_modules_with_other_leaves():
    net = eqx.nn.MLP(3, 2, 4, 2, key=KEY)
    x = jax.random.normal(KEY, (7, 3))
    model = lambda net, x: jax.vmap(net)(x)
    symmetry = permutation_symmetry(model, net, x)
    assert symmetry.sizes == (4, 4)
    assert_invariant(model, net, x, symmetry)
