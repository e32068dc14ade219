"""Evolution: a genetic algorithm with compact genomes, and evolution strategies."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree, UInt32
from scipy.special import ndtri

Evaluate = Callable[[PyTree, Key[Array, ""], Any], tuple[Float[Array, " population"], PyTree, Any]]


class SeedGenome(NamedTuple):
    """A network as the seeds of its first weights and of its mutations, with the mutations' scales.

    The scale of the first entry is 0 and unused; a later entry of scale 0 (a generation in which the network was
    copied unchanged) may be left out. Without those it takes 8 bytes a mutation, however large the network.
    """

    seeds: UInt32[Array, "*population length"]
    scales: Float[Array, "*population length"]


class Evolved(NamedTuple):
    """What `deep_ga` returns."""

    params: PyTree
    """The fittest individual of the last generation."""
    genome: SeedGenome
    """Its genome: one entry a generation."""
    fitness: Float[Array, "generations population"]
    report: PyTree
    """What `evaluate` reported, stacked over the generations."""
    state: Any
    """What `evaluate` left."""


def seeded_noise(seed: UInt32[Array, ""], count: int) -> Float[Array, " count"]:
    """Standard normal numbers that depend on the seed alone, to the last bit.

    Each is one of 16,384 equally likely quantiles (within ±4.01, variance 1) with 12 significant bits, drawn by
    integer arithmetic: no rounding is left to the compiler, and the product with a scale of 12 bits is exact.
    """
    # Always the same generator, whatever JAX's settings: a genome must decode anywhere.
    with jax.threefry_partitionable(True):
        bits = jax.random.bits(jax.random.key(seed, impl="threefry2x32"), (count,), jnp.uint32)
    return jnp.asarray(_quantiles())[bits >> 18]


def mutate(params: PyTree, seed: UInt32[Array, ""], scale: float | Float[Array, ""]) -> PyTree:
    """θ + scale · ε(seed), with ε standard normal in every entry, the scale rounded to 12 significant bits."""
    flat, restore = ravel_pytree(params)
    return restore(flat + _short(scale) * seeded_noise(seed, len(flat)))


def first_weights(spread: PyTree, seed: UInt32[Array, ""]) -> PyTree:
    """ε(seed) times the standard deviations in `spread`, rounded to 12 significant bits."""
    flat, restore = ravel_pytree(spread)
    # A product with 0 could be -0, whose sign another copy of the network need not share.
    return restore(jnp.where(flat == 0, 0.0, _short(flat) * seeded_noise(seed, len(flat))))


def decode(spread: PyTree, genome: SeedGenome) -> PyTree:
    """The network of a genome: θ_0(seed_0) + Σ_k scale_k · ε(seed_k), added in order.

    Bit for bit the network that `deep_ga` bred: products are exact and every sum is rounded once, however the
    compiler arranges them.

    Such et al., "Deep Neuroevolution: Genetic Algorithms Are a Competitive Alternative for Training Deep Neural
    Networks for Reinforcement Learning" (2017).

    **Arguments:**

    - `spread`: the first weights' standard deviations, as handed to `deep_ga`.
    - `genome`: of one network.
    """
    first = first_weights(spread, genome.seeds[0])
    step = lambda params, gene: (mutate(params, *gene), None)
    return jax.lax.scan(step, first, (genome.seeds[1:], genome.scales[1:]))[0]


def deep_ga(
    key: Key[Array, ""],
    spread: PyTree,
    evaluate: Evaluate,
    *,
    population: int,
    parents: int,
    generations: int,
    sigma: float | Float[Array, ""],
    immigrants: float | Float[Array, ""] = 0.0,
    state: Any = None,
) -> Evolved:
    """A genetic algorithm without crossover or gradient: truncation selection, Gaussian mutation, one elite.

    The `parents` fittest of a generation breed the next: the fittest is copied unchanged, and every other child
    is a parent drawn uniformly plus `sigma` times a standard normal vector.

    Such et al., "Deep Neuroevolution: Genetic Algorithms Are a Competitive Alternative for Training Deep Neural
    Networks for Reinforcement Learning" (2017), algorithm 1.

    **Arguments:**

    - `key`: all seeds.
    - `spread`: the standard deviations of the first weights, any pytree of float32 arrays shaped like the
      network's parameters (0 where they start at 0).
    - `evaluate`: `(individuals, key, state) -> (fitness, report, state)`; `individuals` is the pytree stacked
      over the population, so that it can `vmap` over them or compare them with one another (novelty); more
      fitness is better. `state` is handed from generation to generation (an archive). Where fitness is noisy,
      let it play the fittest again before it ranks them, as the paper does.
    - `population`, `parents`, `generations`: N, T and how many generations are evaluated, the first included.
    - `sigma`: the mutations' standard deviation; rounded to 12 significant bits.
    - `immigrants`: the chance that a child is not bred but drawn like the first generation. At 1 this is random
      search that keeps the best.
    - `state`: what the first generation's `evaluate` gets.

    **Example:**

    ```python
    import jax
    from armillary.decide import cart_pole, episode
    from armillary.nn import MLP
    from armillary.train import deep_ga
    world, spread = cart_pole(), jax.tree.map(lambda w: 0 * w + 0.3, MLP((4, 16, 2), jax.random.key(0)))
    play = lambda net, key: episode(world, lambda seen: world.greedy(net(seen)), key)
    evaluate = lambda nets, key, state: (jax.vmap(lambda net: play(net, key).total)(nets), None, state)
    run = deep_ga(jax.random.key(1), spread, evaluate, population=100, parents=10, generations=10, sigma=0.1)
    run.fitness.max(1), run.genome  # best return a generation; the last champion, in ten seeds and scales
    ```
    """
    spread_flat, restore = ravel_pytree(spread)
    spread_flat = _short(spread_flat)

    def generation(carry: tuple, now: tuple) -> tuple[tuple, tuple]:
        flat, genomes, state, _ = carry
        number, key = now
        evaluate_key, parent_key, fresh_key, seed_key = jax.random.split(key, 4)
        fitness, report, state = evaluate(jax.vmap(restore)(flat), evaluate_key, state)
        best = jax.lax.top_k(fitness, parents)[1]
        champion = jax.tree.map(lambda a: a[best[0]], (flat, genomes))

        chosen = best[jax.random.randint(parent_key, (population,), 0, parents)].at[0].set(best[0])
        seeds = jax.random.bits(seed_key, (population,))
        fresh = jax.random.bernoulli(fresh_key, immigrants, (population,)).at[0].set(False)
        scales = jnp.where(fresh, 0.0, _short(sigma)).at[0].set(0.0)
        noise = jax.vmap(lambda seed: seeded_noise(seed, flat.shape[1]))(seeds)
        children = jnp.where(fresh[:, None], spread_flat, scales[:, None]) * noise
        children = jnp.where(fresh[:, None], 0.0, flat[chosen]) + children
        place = jnp.arange(population), jnp.where(fresh, 0, number + 1)
        genomes = SeedGenome(
            genomes.seeds[chosen].at[place].set(seeds, mode="drop"),
            jnp.where(fresh[:, None], 0.0, genomes.scales[chosen]).at[place].set(scales, mode="drop"),
        )
        return (children, genomes, state, champion), (fitness, report)

    first_key, key = jax.random.split(key)
    seeds = jax.random.bits(first_key, (population,))
    genomes = SeedGenome(
        jnp.zeros((population, generations), jnp.uint32).at[:, 0].set(seeds),
        jnp.zeros((population, generations), jnp.float32),
    )
    flat = jax.vmap(lambda seed: ravel_pytree(first_weights(spread, seed))[0])(seeds)
    champion = jax.tree.map(lambda a: a[0], (flat, genomes))
    (_, _, state, champion), (fitness, report) = jax.lax.scan(
        generation,
        (flat, genomes, state, champion),
        (jnp.arange(generations), jax.random.split(key, generations)),
    )
    return Evolved(restore(champion[0]), champion[1], fitness, report, state)


def centred_ranks(fitness: Float[Array, " n"]) -> Float[Array, " n"]:
    """The ranks of the numbers, evenly spaced from -1/2 (the smallest) to 1/2; equal numbers share their mean rank.

    Without that a plateau would have a slope: the order in which its equal numbers stand.
    """
    ordered = jnp.sort(fitness)
    below, upto = (jnp.searchsorted(ordered, fitness, side=side) for side in ("left", "right"))
    return (below + upto - 1) / (2 * (len(fitness) - 1)) - 0.5


def es_gradient(
    evaluate: Callable[[PyTree, Key[Array, ""]], tuple[Float[Array, " population"], Any]],
    *,
    pairs: int,
    sigma: float | Float[Array, ""],
    shape: Callable[[Float[Array, " population"]], Float[Array, " population"]] = centred_ranks,
) -> Callable[[PyTree, Key[Array, ""]], tuple[Any, PyTree]]:
    """The evolution strategy's gradient, to be handed to `fit(gradient=..., batch=lambda key: key)`.

    For θ ± σ ε_i, i = 1 … `pairs`, it is -1/(2 pairs σ) Σ_i (s_i⁺ - s_i⁻) ε_i, where s are the shaped fitnesses:
    descending it climbs the mean shaped fitness around θ.

    Salimans et al., "Evolution Strategies as a Scalable Alternative to Reinforcement Learning" (2017),
    algorithm 2, with mirrored sampling and ranks.

    **Arguments:**

    - `evaluate`: `(individuals, key) -> (fitness, value)`, individuals stacked: θ + σε first, then θ - σε;
      `value` is what `fit` keeps in the loss's place.
    - `pairs`: antithetic pairs.
    - `sigma`: the standard deviation of the search distribution.
    - `shape`: of the fitnesses of all `2 pairs`; the identity gives the plain estimator.

    **Returns:** `(params, key) -> (value, gradient)`.
    """

    def gradient(params: PyTree, key: Key[Array, ""]) -> tuple[Any, PyTree]:
        noise_key, evaluate_key = jax.random.split(key)
        flat, restore = ravel_pytree(params)
        noise = jax.random.normal(noise_key, (pairs, len(flat)), flat.dtype)
        points = flat + sigma * jnp.concatenate([noise, -noise])
        fitness, value = evaluate(jax.vmap(restore)(points), evaluate_key)
        shaped = shape(fitness)
        return value, restore((shaped[pairs:] - shaped[:pairs]) @ noise / (2 * pairs * sigma))

    return gradient


@functools.cache
def _quantiles() -> np.ndarray:
    """16,384 normal quantiles, scaled to variance 1, each rounded to 12 significant bits."""
    values = ndtri((np.arange(16_384) + 0.5) / 16_384)
    mantissa, exponent = np.frexp(values / values.std())
    return np.ldexp(np.round(mantissa * 4096) / 4096, exponent).astype(np.float32)


def _short(scale: float | Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.lax.reduce_precision(jnp.asarray(scale, jnp.float32), 8, 11)
