"""Genomes bit for bit, selection by hand, and the evolution strategy against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.stats import kstest, rankdata

from armillary.nn import MLP
from armillary.train import (
    SeedGenome,
    centred_ranks,
    decode,
    deep_ga,
    es_gradient,
    first_weights,
    fit,
    mutate,
    seeded_noise,
)

SPREAD = jax.tree.map(
    lambda w: jnp.full(w.shape, 0.3), MLP((11, 16, 2), jax.random.key(0), activation=jnp.tanh)
)


def evaluate(individuals, key, state):
    x = jax.random.normal(jax.random.key(5), (20, 11))
    y = jnp.stack([x[:, 0] * x[:, 1], x[:, 2]], -1)
    fitness = -jax.vmap(lambda m: jnp.mean((m(x) - y) ** 2))(individuals)
    return fitness, individuals, state + 1


@pytest.fixture(scope="module")
def run():
    go = lambda key: deep_ga(
        key, SPREAD, evaluate, population=30, parents=5, generations=25, sigma=0.05, state=0
    )
    return jax.jit(go)(jax.random.key(0))


def same_bits(a, b):
    pairs = list(zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    assert pairs
    return all(np.array_equal(np.asarray(p).view(np.uint32), np.asarray(q).view(np.uint32)) for p, q in pairs)


def test_the_genome_is_the_network_bit_for_bit(run):
    assert same_bits(jax.jit(lambda g: decode(SPREAD, g))(run.genome), run.params)
    assert same_bits(decode(SPREAD, run.genome), run.params)
    # Without the generations in which it was copied unchanged.
    told = np.asarray(run.genome.scales) != 0
    assert 0 < told.sum() < 24
    told[0] = True
    compact = SeedGenome(run.genome.seeds[told], run.genome.scales[told])
    assert same_bits(decode(SPREAD, compact), run.params)
    # One mutation after another, outside any compiled loop.
    network = first_weights(SPREAD, compact.seeds[0])
    for seed, scale in zip(compact.seeds[1:], compact.scales[1:]):
        network = mutate(network, seed, scale)
    assert same_bits(network, run.params)


def test_many_genomes_decode_at_once_and_other_seeds_do_not():
    go = lambda key: deep_ga(
        key, SPREAD, evaluate, population=30, parents=5, generations=8, sigma=0.3, state=0
    )
    runs = jax.jit(jax.vmap(go))(jax.random.split(jax.random.key(1), 3))
    assert same_bits(jax.jit(jax.vmap(lambda g: decode(SPREAD, g)))(runs.genome), runs.params)
    wrong = runs.genome._replace(seeds=runs.genome.seeds.at[:, 0].add(1))
    assert not same_bits(jax.vmap(lambda g: decode(SPREAD, g))(wrong), runs.params)


def test_immigrants_are_drawn_like_the_first_generation_and_have_one_gene():
    zero = jax.tree.map(lambda w: w.at[0].set(0.0), SPREAD)  # some weights start at zero
    go = lambda key, share: deep_ga(
        key, zero, evaluate, population=30, parents=5, generations=12, sigma=0.05, immigrants=share, state=0
    )
    run = jax.jit(go)
    search = run(jax.random.key(3), 1.0)
    best, genome = np.asarray(search.fitness).max(1), search.genome
    assert (np.diff(best) >= 0).all()
    assert not np.asarray(genome.scales).any()
    assert same_bits(first_weights(zero, genome.seeds[0]), search.params)
    assert same_bits(decode(zero, genome), search.params)
    # All but the kept one are new: nobody's weights are seen twice.
    weights = np.asarray(search.report.weights[0]).reshape(12, 30, -1)
    assert len(np.unique(weights[:, 1:].reshape(-1, weights.shape[-1]), axis=0)) == 12 * 29
    assert (weights[:, :, : weights.shape[-1] // 11] == 0).all()
    mixed = run(jax.random.key(4), 0.5)
    assert same_bits(decode(zero, mixed.genome), mixed.params)
    none = run(jax.random.key(4), 0.0)
    assert none.fitness.max() > search.fitness.max() + 0.1


def test_a_genome_decodes_alike_under_other_settings_of_the_generator(run):
    with jax.threefry_partitionable(False):
        assert same_bits(jax.jit(lambda g: decode(SPREAD, g))(run.genome), run.params)
    with jax.default_prng_impl("rbg"):
        assert same_bits(jax.jit(lambda g: decode(SPREAD, g))(run.genome), run.params)
    with jax.enable_x64(True):
        assert same_bits(jax.jit(lambda g: decode(SPREAD, g))(run.genome), run.params)


def test_a_large_genome_is_small():
    large = MLP((64, 256, 256, 10), jax.random.key(0))
    large = jax.tree.map(lambda w: jnp.full(w.shape, w.shape[0] ** -0.5), large)
    last = lambda individuals, key, state: (individuals.biases[-1][:, 0], None, state)
    run = jax.jit(lambda key: deep_ga(key, large, last, population=4, parents=2, generations=6, sigma=0.002))(
        jax.random.key(2)
    )
    assert same_bits(decode(large, run.genome), run.params)
    weights = sum(leaf.size for leaf in jax.tree.leaves(run.params)) * 4
    assert weights / sum(np.asarray(a).nbytes for a in run.genome) > 5000


def test_selection_by_hand(run):
    stacked = [np.asarray(leaf).reshape(25, 30, -1) for leaf in jax.tree.leaves(run.report)]
    flat = np.concatenate(stacked, -1)
    assert int(run.state) == 25
    for g in range(24):
        order = np.argsort(-np.asarray(run.fitness[g]))
        np.testing.assert_array_equal(flat[g + 1, 0], flat[g, order[0]])
        # Each child is 0.05 · N(0, I) from one of the five best: |δ|²/0.05² is χ² of the number of weights.
        away = ((flat[g + 1, 1:, None] - flat[g, order[:5]]) ** 2).sum(-1) / 0.05**2
        count = flat.shape[-1]
        assert (abs(away.min(1) - count) < 6 * np.sqrt(2 * count)).all()
    best = np.asarray(run.fitness).max(1)
    assert (np.diff(best) >= 0).all()
    assert best[-1] > best[0] + 0.3


def test_the_noise_is_standard_normal_and_no_two_seeds_share_it():
    a, b = (np.asarray(seeded_noise(jnp.uint32(seed), 100_000), float) for seed in (1, 2))
    assert kstest(a, "norm").pvalue > 0.01
    np.testing.assert_allclose([a.mean(), a.var(), (a**4).mean()], [0, 1, 3], atol=0.08)
    assert abs(np.corrcoef(a, b)[0, 1]) < 0.015


def test_products_are_exact():
    noise = np.asarray(seeded_noise(jnp.uint32(7), 10_000))
    for scale in (0.05, 0.1234567, 3.3e-4):
        moved = np.asarray(mutate(jnp.zeros(10_000), jnp.uint32(7), scale))
        ratio = moved[noise != 0].astype(float) / noise[noise != 0].astype(float)
        assert (ratio == ratio[0]).all()  # in 64 bit: nothing was rounded away
        np.testing.assert_allclose(ratio[0], scale, rtol=2**-12)


def test_ranks_are_scipys():
    random = np.random.default_rng(0)
    for fitness in (random.normal(size=31), random.integers(5, size=31), np.zeros(31)):
        found = centred_ranks(jnp.array(fitness, jnp.float32))
        np.testing.assert_allclose(found, (rankdata(fitness) - 1) / 30 - 0.5, atol=1e-6)


def test_the_plain_estimator_is_the_gradient_of_a_linear_fitness():
    slope = {"a": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
    score = lambda p: p["a"] @ slope["a"] + p["b"] * slope["b"]
    of_all = lambda individuals, key: (jax.vmap(score)(individuals), 0.0)
    gradient = es_gradient(of_all, pairs=20_000, sigma=0.3, shape=lambda f: f)
    _, found = gradient(jax.tree.map(jnp.ones_like, slope), jax.random.key(0))
    for name in slope:  # mean of ε εᵀ over 20,000 draws: the identity to about 1/√20,000
        np.testing.assert_allclose(found[name], -slope[name], atol=0.06)


def test_the_strategy_finds_the_top_of_a_parabola_with_fit():
    top = jnp.array([1.0, -0.5, 2.0])
    of_all = lambda individuals, key: (-((individuals - top) ** 2).sum(-1), 0.0)
    rule = es_gradient(of_all, pairs=20, sigma=0.1)
    done = fit(
        lambda p, k: 0.0, jnp.zeros(3), lambda key: key, optax.adam(0.05), steps=200, key=jax.random.key(0),
        gradient=rule,
    )  # fmt: skip
    np.testing.assert_allclose(done.params, top, atol=0.1)
