import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats.mstats import winsorize

from armillary.nn import MLP
from armillary.train import fit, median_of_means, reduced_gradient, winsorized_mean

STACK = np.random.default_rng(0).normal(size=(12, 5, 3)).astype(np.float32)


@pytest.mark.parametrize("clip", [0, 1, 3, 5])
def test_winsorized_mean_against_scipy(clip):
    want = np.array(winsorize(STACK, limits=(clip / 12 + 1e-9,) * 2, axis=0)).mean(0)
    got = winsorized_mean({"a": STACK, "b": None}, clip)
    np.testing.assert_allclose(got["a"], want, rtol=1e-5, atol=1e-6)
    assert got["b"] is None


def test_an_outlier_moves_the_mean_but_not_the_winsorized_one():
    spoilt = np.r_[STACK[:-1], np.full_like(STACK[-1:], 1e6)]
    assert np.abs(winsorized_mean(jnp.array(spoilt), 1)).max() < 3


@pytest.mark.parametrize("groups", [1, 2, 3, 4, None])
def test_median_of_means_against_numpy(groups):
    want = np.median(STACK.reshape(groups or 12, -1, 5, 3).mean(1), axis=0)
    np.testing.assert_allclose(median_of_means(jnp.array(STACK), groups), want, rtol=1e-5, atol=1e-6)


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="leaves none"):
        winsorized_mean(jnp.array(STACK), 6)
    with pytest.raises(ValueError, match="5 equal groups"):
        median_of_means(jnp.array(STACK), 5)


def line(params, batch):
    x, y = batch
    return jnp.mean((x @ params - y) ** 2) / 2


def test_reduced_gradient_by_hand():
    rng = np.random.default_rng(1)
    x, y, w = (jnp.array(rng.normal(size=s).astype(np.float32)) for s in ((12, 4), (12,), (4,)))
    each = (x @ w - y)[:, None] * x
    loss, grads = reduced_gradient(line, lambda g: winsorized_mean(g, 2))(w, (x, y))
    np.testing.assert_allclose(grads, winsorized_mean(each, 2), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(loss, line(w, (x, y)), rtol=1e-5)
    _, grads = reduced_gradient(line, median_of_means, groups=3)(w, (x, y))
    np.testing.assert_allclose(grads, median_of_means(each, 3), rtol=1e-4, atol=1e-6)


def test_fit_with_the_median_withstands_one_spoilt_group():
    x = jax.random.normal(jax.random.key(0), (30, 2))
    y = (x @ jnp.array([1.0, -2.0])).at[20:].set(50.0)
    runs = {}
    for name, reduce in {"median": median_of_means, "mean": lambda g: g.mean(0)}.items():
        gradient = reduced_gradient(line, reduce, groups=3)
        runs[name] = fit(line, jnp.zeros(2), (x, y), optax.sgd(0.1), steps=300, gradient=gradient).params
    np.testing.assert_allclose(runs["median"], [1.0, -2.0], atol=0.1)
    assert np.abs(runs["mean"] - np.array([1.0, -2.0])).max() > 1


def test_fit_with_the_plain_mean_is_fit():
    x = jax.random.normal(jax.random.key(1), (8, 3))
    loss = lambda model, batch: jnp.mean(model(batch) ** 2)
    model = MLP((3, 4, 1), jax.random.key(2))
    gradient = reduced_gradient(loss, lambda g: jax.tree.map(lambda a: a.mean(0), g))
    a = fit(loss, model, x, optax.sgd(0.1), steps=20)
    b = fit(loss, model, x, optax.sgd(0.1), steps=20, gradient=gradient)
    np.testing.assert_allclose(a.loss, b.loss, rtol=1e-4)
