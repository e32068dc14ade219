import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import linear_sum_assignment

from armillary.merge import (
    activation_matching,
    activations,
    assign,
    permutation_symmetry,
    permute,
    random_permutations,
    weight_matching,
)
from armillary.nn import MLP

MODEL = lambda params, x: params(x)
KEY = jax.random.key(0)
PAIR = tuple(jax.random.split(KEY))


def mlp(sizes, key=KEY):
    return MLP(sizes, key, activation=jnp.tanh, init="torch")


def residual(p, x):
    """A convolutional net with a residual stream, layer normalization and a flattened head."""
    conv = lambda x, w: jax.lax.conv_general_dilated(
        x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    stream = jax.nn.relu(conv(x, p["stem"]))
    inner = conv(stream, p["up"])
    inner = (inner - inner.mean(-1, keepdims=True)) / jnp.sqrt(inner.var(-1, keepdims=True) + 1e-5)
    stream = stream + conv(jax.nn.relu(inner * p["scale"]), p["down"])
    return stream.reshape(len(x), -1) @ p["head"]


def residual_params(seed=0):
    shapes = {"stem": (3, 3, 2, 6), "up": (3, 3, 6, 8), "scale": (8,), "down": (3, 3, 8, 6), "head": (54, 4)}
    random = np.random.default_rng(seed)
    return {n: jnp.array(random.normal(size=s), jnp.float32) for n, s in shapes.items()}


CASES = {
    "mlp": lambda: (MODEL, mlp((8, 12, 10, 3)), jax.random.normal(KEY, (40, 8))),
    "conv": lambda: (residual, residual_params(), jax.random.normal(KEY, (20, 3, 3, 2))),
}


def product(a, b):
    leaves = lambda tree: jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return sum(float(np.vdot(u, v)) for u, v in zip(leaves(a), leaves(b)))


def test_assignment_against_scipy():
    gain = np.array(jax.random.normal(KEY, (20, 20)))
    rows, columns = linear_sum_assignment(gain, maximize=True)
    np.testing.assert_array_equal(assign(jnp.array(gain)), columns[np.argsort(rows)])


def test_weight_matching_of_one_hidden_layer_against_all_permutations():
    a, b = (mlp((3, 5, 2), key) for key in PAIR)
    symmetry = permutation_symmetry(MODEL, a, jnp.ones(3))
    every = [product(a, permute(symmetry, b, (jnp.array(p),))) for p in itertools.permutations(range(5))]
    found = weight_matching(symmetry, a, b)
    np.testing.assert_allclose(found.product, max(every), rtol=1e-5)
    np.testing.assert_allclose(found.product, product(a, permute(symmetry, b, found.permutations)), rtol=1e-5)


def test_weight_matching_of_two_hidden_layers_against_all_permutations():
    """Each start ends where no layer's permutation improves; the best of all starts is the optimum."""
    a, b = (mlp((3, 3, 3, 2), key) for key in PAIR)
    symmetry = permutation_symmetry(MODEL, a, jnp.ones(3))
    orders = list(itertools.permutations(range(3)))
    pairs = np.array(list(itertools.product(orders, orders)))
    value = jax.vmap(lambda p, q: weight_product(symmetry, a, b, (p, q)))
    table = np.array(value(*pairs.swapaxes(0, 1))).reshape(6, 6)
    found = jax.vmap(lambda p, q: weight_matching(symmetry, a, b, start=(p, q)))(*pairs.swapaxes(0, 1))
    first, second = ([orders.index(tuple(map(int, p))) for p in each] for each in found.permutations)
    assert found.converged.all()
    np.testing.assert_allclose(found.product, table[first, second], rtol=1e-5)
    np.testing.assert_allclose(found.product, table[:, second].max(0), rtol=1e-5)
    np.testing.assert_allclose(found.product, table[first].max(1), rtol=1e-5)
    np.testing.assert_allclose(found.product.max(), table.max(), rtol=1e-5)
    assert len(set(zip(first, second))) > 1, "local optima exist, or the test shows nothing"


def weight_product(symmetry, a, b, permutations):
    moved = permute(symmetry, b, permutations)
    leaves = lambda tree: jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
    return sum(jnp.vdot(u, v) for u, v in zip(leaves(a), leaves(moved)))


def test_a_weight_with_both_axes_in_one_group_never_makes_it_worse():
    model = lambda p, x: (x @ p["in"] + jnp.tanh(x @ p["in"] @ p["square"])) @ p["out"]
    shapes = {"in": (2, 4), "square": (4, 4), "out": (4, 2)}
    x = jnp.ones((3, 2))
    draw = lambda key: {n: jax.random.normal(key, s) for n, s in shapes.items()}
    a = draw(KEY)
    symmetry = permutation_symmetry(model, a, x)
    assert symmetry.sizes == (4,)
    every = jnp.array(list(itertools.permutations(range(4))))

    def one(key):
        b = draw(key)
        best = jax.vmap(lambda p: weight_product(symmetry, a, b, (p,)))(every).max()
        return weight_product(symmetry, a, b, (every[0],)), weight_matching(symmetry, a, b).product, best

    before, after, best = jax.vmap(one)(jax.random.split(KEY, 50))
    assert (after >= before - 1e-5).all()
    assert (after <= best + 1e-5).all()
    assert float((after - before).sum()) > 0.7 * float((best - before).sum())


@pytest.mark.parametrize("case", CASES)
def test_a_permuted_copy_is_matched_back_exactly(case):
    model, params, x = CASES[case]()
    symmetry = permutation_symmetry(model, params, x)
    shuffled = permute(symmetry, params, random_permutations(symmetry, KEY))
    assert product(params, shuffled) < 0.9 * product(params, params)
    by_weights = jax.jit(lambda: weight_matching(symmetry, params, shuffled).permutations)()
    by_activations = jax.jit(lambda: activation_matching(model, params, shuffled, x))()
    for found in (by_weights, by_activations):
        back = permute(symmetry, shuffled, found)
        assert all(
            jax.tree.leaves(jax.tree.map(lambda u, v: bool((u == v).all()), *map(arrays, (back, params))))
        )
        np.testing.assert_allclose(model(back, x), model(shuffled, x), rtol=1e-4, atol=1e-5)


def arrays(tree):
    return eqx.filter(tree, eqx.is_inexact_array)


def test_activations_are_what_the_next_layer_reads():
    net = mlp((3, 4, 5, 2))
    x = jax.random.normal(KEY, (7, 3))
    first = jnp.tanh(x @ net.weights[0] + net.biases[0])
    second = jnp.tanh(first @ net.weights[1] + net.biases[1])
    for got, expected in zip(activations(jax.jit(MODEL), net, x), (first, second), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5)


def test_activation_matching_against_all_permutations():
    a, b = (mlp((3, 5, 2), key) for key in PAIR)
    x = jax.random.normal(KEY, (30, 3))
    read = lambda net: np.array(jnp.tanh(x @ net.weights[0] + net.biases[0]))
    best = min(((read(a) - read(b)[:, p]) ** 2).sum() for p in itertools.permutations(range(5)))
    (found,) = activation_matching(MODEL, a, b, x)
    np.testing.assert_allclose(((read(a) - read(b)[:, found]) ** 2).sum(), best, rtol=1e-5)


class ConvNet(eqx.Module):
    """Equinox's own layers: a residual block, batch and group normalization, pooling, a flattened head."""

    stem: eqx.nn.Conv2d
    batch_norm: eqx.nn.BatchNorm
    group_norm: eqx.nn.GroupNorm
    inner: eqx.nn.Conv2d
    pool: eqx.nn.MaxPool2d
    dense: eqx.nn.Linear
    layer_norm: eqx.nn.LayerNorm
    head: eqx.nn.Linear

    def __init__(self, key):
        keys = jax.random.split(key, 4)
        self.stem = eqx.nn.Conv2d(2, 6, 3, padding=1, key=keys[0])
        self.batch_norm = eqx.nn.BatchNorm(6, "batch", mode="batch")
        self.group_norm = eqx.nn.GroupNorm(2, 6)
        self.inner = eqx.nn.Conv2d(6, 6, 3, padding=1, key=keys[1])
        self.pool = eqx.nn.MaxPool2d(2, 2)
        self.dense = eqx.nn.Linear(24, 5, key=keys[2])
        self.layer_norm = eqx.nn.LayerNorm(5)
        self.head = eqx.nn.Linear(5, 3, key=keys[3])

    def __call__(self, x, state):
        stream, state = self.batch_norm(jax.nn.relu(self.stem(x)), state)
        stream = stream + jax.nn.gelu(self.inner(self.group_norm(stream)))
        hidden = self.layer_norm(self.dense(self.pool(stream).reshape(-1)))
        return self.head(jax.nn.relu(hidden)), state


def over_batch(params, x):
    net, state = params
    outputs, _ = jax.vmap(net, axis_name="batch", in_axes=(0, None), out_axes=(0, None))(x, state)
    return outputs


@pytest.mark.parametrize("inference", [False, True])
def test_a_permuted_equinox_network_is_matched_back_in_training_and_in_inference(inference):
    net, state = eqx.nn.make_with_state(ConvNet)(KEY)
    params, x = (eqx.nn.inference_mode(net, inference), state), jax.random.normal(KEY, (30, 2, 4, 4))
    symmetry = permutation_symmetry(over_batch, params, x)
    # The group normalization factors the stream into which group and which channel inside it.
    assert symmetry.sizes == (2, 3, 5)
    for seed in range(3):
        shuffled = permute(symmetry, params, random_permutations(symmetry, jax.random.key(seed)))
        np.testing.assert_allclose(over_batch(shuffled, x), over_batch(params, x), rtol=1e-4, atol=1e-5)
        found = activation_matching(over_batch, params, shuffled, x)
        back = permute(symmetry, shuffled, found)
        same = jax.tree.map(lambda u, v: bool((u == v).all()), arrays(back), arrays(params))
        assert all(jax.tree.leaves(same))
        # Weight matching, which may end at a local optimum, does not leave the global one.
        by_weights = weight_matching(symmetry, params, shuffled, start=found)
        np.testing.assert_allclose(by_weights.product, weight_product(symmetry, params, shuffled, found))


def test_a_sum_over_a_named_axis_is_one_more_reduction_where_vmap_places_it():
    model = lambda p, x: jax.lax.psum(jnp.tanh(x @ p["in"]), "rows") @ p["out"]
    params = {"in": jnp.ones((2, 3)), "out": jnp.ones((3, 2))}
    placed = jax.vmap(model, (None, 0), axis_name="rows")
    assert permutation_symmetry(placed, params, jnp.ones((4, 2))).sizes == (3,)


def test_a_group_that_nothing_reads_is_named():
    model = lambda p, x: jnp.tanh(x @ p["in"]).sum(-1)
    with pytest.raises(ValueError, match="group 0"):
        activations(model, {"in": jnp.ones((2, 3))}, jnp.ones((4, 2)))
