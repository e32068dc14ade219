"""Problems in JAX: Equinox, Flax NNX and plain functions; data; what cannot be measured."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import cut, data, in_jax, loss, outputs, random_vectors, tree

from armillary import InputError, probe
from armillary.measure import cross_entropy


@pytest.fixture(scope="module")
def params(nets):
    return tree(nets[0].state_dict())


def test_sums_do_not_depend_on_the_micro_batches(params):
    x, y = data()
    whole, parts, cuts = (
        in_jax(params, size=150),
        in_jax(params, size=40),
        in_jax(params, size=150, micro_batch=37),
    )
    assert cuts.sizes == [37, 37, 37, 37, 2]
    vectors = random_vectors(whole, 3)
    truth = float(loss(params, (x, y)))
    for problem in (whole, parts, cuts):
        np.testing.assert_allclose(problem.loss(), truth, rtol=1e-5)
        np.testing.assert_allclose(problem.gradient(), whole.gradient(), atol=1e-6)
    np.testing.assert_allclose(cuts.hessian(vectors), whole.hessian(vectors), atol=2e-4)
    np.testing.assert_allclose(cuts.gauss_newton(vectors), whole.gauss_newton(vectors), atol=2e-4)
    np.testing.assert_allclose(
        np.concatenate(list(cuts.example_gradients(4e4))),
        np.concatenate(list(whole.example_gradients(1e9))),
        atol=1e-5,
    )


def test_example_gradients_come_in_chunks_as_large_as_memory_says(params):
    problem = in_jax(params)
    one = 4 * problem.size * problem.engine.lanes
    sizes = [len(chunk) for chunk in problem.example_gradients(7.5 * one, limit=60)]
    assert max(sizes) == 7
    assert sum(sizes) == 60


def test_equinox(params):
    model = eqx.nn.MLP(64, 10, 8, 2, key=jax.random.key(0))
    x, y = data()
    forward = lambda net, batch: jax.vmap(net)(batch[0])
    problem = probe.from_jax(
        lambda n, b: cross_entropy(forward(n, b), b[1]), model, cut(x, y), outputs=forward
    )
    assert problem.size == sum(leaf.size for leaf in jax.tree.leaves(eqx.filter(model, eqx.is_inexact_array)))
    assert problem.leaves[0].name == "layers[0].weight"
    assert problem.has("objective", "logits", "labels", "inputs")
    assert not probe.examine(problem, only=["sharpness", "noise", "kernel"], budget=None).failed


def test_flax_nnx():
    from flax import nnx

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(64, 8, rngs=rngs)
            self.last = nnx.Linear(8, 10, rngs=rngs)

        def __call__(self, x):
            return self.last(nnx.tanh(self.first(x)))

    graph, weights, rest = nnx.split(Net(nnx.Rngs(0)), nnx.Param, ...)
    forward = lambda w, batch: nnx.merge(graph, w, rest)(batch[0])
    x, y = data()
    problem = probe.from_jax(
        lambda w, b: cross_entropy(forward(w, b), b[1]), weights, cut(x, y), outputs=forward
    )
    assert problem.size == 64 * 8 + 8 + 8 * 10 + 10
    report = probe.examine(problem, only=["sharpness", "fragility"], budget=None)
    assert not report.failed
    flat, unravel = jax.flatten_util.ravel_pytree(weights)
    matrix = jax.hessian(lambda f: cross_entropy(forward(unravel(f), (x, y)), y))(flat)
    np.testing.assert_allclose(
        report["largest Hessian eigenvalue"].value, np.linalg.eigvalsh(matrix)[-1], rtol=1e-3
    )


def test_a_loss_with_in_batch_negatives_has_no_example_gradients():
    x = data()[0]

    def contrastive(w, batch):
        z = batch @ w
        return cross_entropy(z @ z.T, jnp.arange(len(z)))

    problem = probe.from_jax(contrastive, jax.random.normal(jax.random.key(0), (64, 4)), [x[:20], x[20:40]])
    report = probe.examine(problem, only=["sharpness", "noise"], budget=None)
    assert report["largest Hessian eigenvalue"].value
    assert report.lacking == [
        {"measurement": "noise", "what": report.lacking[0]["what"], "lacks": "a loss that is the mean over its examples (this one is not)"}
    ]  # fmt: skip


def test_an_objective_of_its_own():
    x, _ = data()
    rng = np.random.default_rng(0)
    t = rng.standard_normal((150, 3)).astype(np.float32)
    model = lambda w, batch: jnp.tanh(batch[0] @ w)
    objective = lambda o, batch: ((o - batch[1]) ** 2).mean()
    w = jnp.asarray(rng.standard_normal((64, 3)) / 8, jnp.float32)
    problem = probe.from_jax(
        lambda w, b: objective(model(w, b), b), w, cut(x, t), outputs=model, objective=objective
    )
    assert problem.has("objective")
    assert not problem.has("logits")
    assert not problem.has("labels")
    with pytest.raises(InputError, match="pass outputs="):
        probe.from_jax(lambda w, b: objective(model(w, b), b), w, cut(x, t), objective=objective)


@pytest.mark.parametrize("kind", ["list", "loader", "function"])
def test_data_in_every_form(params, kind):
    batches = cut(*data())

    class Loader:
        def __iter__(self):
            return iter(batches)

    source = {"list": batches, "loader": Loader(), "function": lambda: (b for b in batches)}[kind]
    problem = probe.from_jax(loss, params, source)
    np.testing.assert_allclose(problem.loss(), loss(params, data()), rtol=1e-5)


def test_a_loader_that_changes_later(params):
    passes = []

    def batches():
        passes.append(0)
        x, y = data()
        x = x + 0.1 * (len(passes) > 4)
        return iter([(x, y)])

    problem = probe.from_jax(loss, params, batches)
    with pytest.raises(InputError, match="batch 1 differs"):
        problem.loss()


X, Y = data(6)


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        ((loss, None, []), {}, "no floating-point arrays"),
        ((loss, "P", []), {}, "no batches"),
        ((loss, "P", iter([(X, Y)])), {}, "1 batches on its first pass and 0 on a later one"),
        ((loss, "P", [(X, Y[:3])]), {}, "disagree on the number of examples: [3, 6]"),
        ((loss, "P", [3.0]), {}, "no arrays with examples"),
        ((lambda p, b: jnp.nan * loss(p, b), "P", [(X, Y)]), {}, "the loss is nan on batch 1"),
        ((loss, {"w": np.ones((2, 2), np.int8), "v": np.ones(2, np.float32)}, []), {}, "parameter ['w'] is int8"),
        ((loss, {"w": jnp.ones(2, jnp.bfloat16)}, []), {}, "parameter ['w'] is bfloat16"),
        ((loss, eqx.nn.Sequential([eqx.nn.Linear(3, 3, key=jax.random.key(0)), eqx.nn.Dropout(0.5)]), []), {}, "training mode (Dropout)"),
        ((loss, "P", [(X, Y)]), {"other": [jnp.ones(3)]}, "other=: its arrays differ"),
        ((loss, "P", [(X, Y)]), {"micro_batch": 0}, "micro_batch=0"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_clear_line(params, arguments, options, words):
    f, p, batches = arguments
    with pytest.raises(InputError) as error:
        probe.from_jax(f, params if isinstance(p, str) else p, batches, **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_equinox_attention_without_dropout_is_in_no_training_mode():
    attention = eqx.nn.MultiheadAttention(2, 4, key=jax.random.key(0))
    x = np.random.default_rng(0).standard_normal((5, 3, 4), np.float32)
    probe.from_jax(lambda a, b: (jax.vmap(lambda s: a(s, s, s))(b) ** 2).mean(), attention, [x])


def test_outputs_alone_give_no_objective_when_the_loss_is_another(params):
    half = lambda p, b: 0.5 * loss(p, b)
    assert not probe.from_jax(half, params, cut(*data()), outputs=outputs).has("objective")
