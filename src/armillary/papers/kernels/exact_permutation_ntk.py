"""Exact Learning of Permutations for Nonzero Binary Inputs with Logarithmic Training Size and Quadratic Ensemble Complexity (2025).

Claim: an ensemble of wide two-layer networks trained only on the basis vectors computes a permutation exactly, after rounding,
on every nonzero binary input. The number of networks needed for a typical input grows only slightly faster than its length.
Control: one network instead of an ensemble; one basis vector left out of training; two ones in every input instead of half.
Scope: five bits and 400 networks of width 1,024 for the exact task, in closed form ten bits; up to 256 bits for the number of
networks, drawn from the exact Gaussian law of infinite width. The quadratic law for all inputs at once is not tested: it
needs a union over exponentially many.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.lab import Check, Report, Study, at_least, at_most, between
from armillary.measure import ensemble_size, ntk_gaussian_process
from armillary.train import fit

LENGTHS = (32, 64, 128, 256)


def binary_inputs(bits):
    """All that are not zero, of length 1; and which bits are on."""
    on = np.array([b for b in itertools.product((0, 1), repeat=bits) if any(b)])
    return on / np.sqrt(on.sum(1, keepdims=True)), on


def means(bits):
    """In theory, of bits on and off, for inputs of 1, 2, … ones; with all bits on, 0 stands for the others."""
    x = jnp.eye(bits)
    ones = np.tril(np.ones((bits, bits)))
    mean = ntk_gaussian_process(x, x, ones / np.sqrt(ones.sum(1, keepdims=True))).mean
    return mean[:, 0], mean[:, -1].at[-1].set(0.0)


def experiment(key, *, bits=5, width=1024, networks=400, rate=0.3, steps=60, closed_bits=10, draws=2000):
    k_order, k_closed, k_networks, k_draws = jax.random.split(key, 4)

    # Ten bits in closed form: on every input, the lowest mean of a bit on less the highest of one off.
    def separation(trained):
        order = jax.random.permutation(k_closed, closed_bits)
        x, on = binary_inputs(closed_bits)
        mean = ntk_gaussian_process(
            jnp.eye(closed_bits)[:trained], jnp.eye(closed_bits)[:trained, order], x
        ).mean
        right = jnp.array(on)[:, order] > 0
        return jnp.min(
            jnp.min(jnp.where(right, mean, jnp.inf), 1) - jnp.max(jnp.where(right, -jnp.inf, mean), 1)
        )

    # Five bits by training: 400 networks, each on the five basis vectors alone.
    order = jax.random.permutation(k_order, bits)
    x, on = binary_inputs(bits)
    data = jnp.eye(bits), jnp.eye(bits)[:, order]

    def trained(key):
        k_hidden, k_out = jax.random.split(key)
        network = lambda p, x: jax.nn.relu(x @ p[0].T) @ p[1].T * jnp.sqrt(2 / width)
        loss = lambda p, data: jnp.sum((network(p, data[0]) - data[1]) ** 2) / 2
        start = jax.random.normal(k_hidden, (width, bits)), jax.random.normal(k_out, (bits, width))
        done = fit(loss, start, data, optax.sgd(rate), steps=steps, every=steps)
        return network(done.params, x), loss(done.params, data)

    outputs, loss = jax.lax.map(trained, jax.random.split(k_networks, networks), batch_size=8)
    threshold = (sum(means(bits)) / 2)[on.sum(1) - 1]
    right = jnp.array(on)[:, order] > 0
    exact = lambda outputs: jnp.mean(jnp.all((outputs > threshold[:, None]) == right, 1))

    # Many bits: how many networks an average needs, by draws from their Gaussian law.
    def needed(length, ones, key):
        x = jnp.zeros(length).at[:ones].set(ones**-0.5)
        law = ntk_gaussian_process(jnp.eye(length), jnp.eye(length)[:, jnp.array([0, length - 1])], x[None])
        errors = jax.random.normal(key, (draws, length))
        return ensemble_size(errors, law.mean[0, 0] - law.mean[0, 1], jnp.sqrt(law.covariance[0, 0]))

    keys = jax.random.split(k_draws, len(LENGTHS))
    average = outputs.mean(0)

    def mean_by_weight(which):
        weight = jnp.arange(1, bits + 1)[:, None, None]
        use = which & (on.sum(1)[:, None] == weight)
        return jnp.sum(jnp.where(use, average, 0.0), (1, 2)) / jnp.maximum(jnp.sum(use, (1, 2)), 1)

    return {
        "separation": separation(closed_bits),
        "separation_less": separation(closed_bits - 1),
        "exact": exact(average),
        "exact_one": exact(outputs[0]),
        "loss": jnp.max(loss),
        "needed": jnp.stack([needed(k, k // 2, key) for k, key in zip(LENGTHS, keys, strict=True)]),
        "needed_two": jnp.stack([needed(k, 2, key) for k, key in zip(LENGTHS, keys, strict=True)]),
        "mean_on": mean_by_weight(right),
        "mean_off": mean_by_weight(~right),
    }


def measured(name, words):
    value = lambda arms: arms["permutation"][name]
    value.__name__ = words
    return value


def slope(name, words):
    """Power of k log k in the number of networks."""

    def value(arms):
        k = np.array(LENGTHS)
        return np.polyfit(
            np.log(k * np.log(k)), np.log(arms["permutation"][name].transpose("bits", "seed")), 1
        )[0]

    value.__name__ = words
    return value


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained")
    run = arms["permutation"]
    weight = np.arange(1, run.sizes["weight"] + 1)
    theory = np.array(means(len(weight)))
    left.plot(weight, theory[0], "-", color="C0", label="bits that should be 1, theory")
    left.plot(weight[:-1], theory[1, :-1], "-", color="C3", label="bits that should be 0, theory")
    left.plot(weight, theory.mean(0), ":", color="0.5", label="threshold")
    left.plot(weight, run.mean_on.T, "o", color="C0", alpha=0.6)
    left.plot(weight[:-1], run.mean_off.T[:-1], "o", color="C3", alpha=0.6)
    left.set(
        xlabel="ones in the input, of five bits",
        ylabel="mean output of 400 networks",
        title="Trained on one bit at a time",
    )
    left.set_xticks(weight)
    left.legend(frameon=False, fontsize=9)
    for name, colour, label in (("needed", "C0", "half of the bits on"), ("needed_two", "C3", "two bits on")):
        right.plot(LENGTHS, run[name].mean("seed"), "o-", color=colour, label=label)
        right.fill_between(
            LENGTHS, run[name].min("seed"), run[name].max("seed"), color=colour, alpha=0.2, lw=0
        )
    k, at = np.array(LENGTHS), float(run.needed.isel(bits=0).mean())
    right.plot(k, at * k * np.log(k) / (32 * np.log(32)), "k:", label="k log k")
    right.plot(k, at * k**2 / 32**2, "k--", lw=1, label="k²")
    right.set(xscale="log", yscale="log", xlabel="bits k", ylabel="networks for 95% exact answers")
    right.set_xticks(LENGTHS, [str(k) for k in LENGTHS])
    right.minorticks_off()
    right.set_title("How many networks to average")
    right.legend(frameon=False, fontsize=9)
    return fig


study = Study(
    experiment,
    arms={"permutation": {}},
    requires=[
        Check(
            "trained",
            "half the squared error on the basis vectors after training, the worst of 400 networks",
            measured("loss", "loss"),
            at_most(1e-6),
            basis="convention",
            because="the theory is about networks that fit",
        ),
    ],
    checks=[
        Check(
            "separated",
            "lowest mean of a bit on less the highest of one off, the worst of 1,023 inputs of ten bits, in closed form",
            measured("separation", "separation"),
            at_least(1e-3),
            control=measured("separation_less", "one basis vector left out"),
            because="(Θ(1/√s) − Θ(0)) / (Θ(1) − Θ(0)) > 0; 0.22 at s = 10. A bit without its vector has the mean 0, on or off",
        ),
        Check(
            "exact",
            "share of the 31 inputs of five bits on which the average of 400 networks has every bit right",
            measured("exact", "exact"),
            at_least(0.99),
            control=measured("exact_one", "one network"),
            because="half the gap is 0.15 or more, the average's deviation 0.5/√400 = 0.025",
        ),
        Check(
            "linearithmic",
            "power of k log k in the number of networks for inputs with half of k bits on, k from 32 to 256",
            slope("needed", "half of the bits"),
            between(0.8, 1.2),
            control=slope("needed_two", "two bits on"),
            because="the squared gap falls as 1/k, a union over k bits gives log k; 1.11 by the normal approximation",
        ),
    ],
    reports=[
        Report(
            "networks",
            "networks for inputs with 128 of 256 bits on",
            lambda a: a["permutation"].needed.isel(bits=-1),
        ),
        Report("one", "share of the 31 inputs that one network has right", measured("exact_one", "one")),
    ],
    dims={
        **dict.fromkeys(("needed", "needed_two"), ("bits",)),
        **dict.fromkeys(("mean_on", "mean_off"), ("weight",)),
    },
    coords={"bits": LENGTHS},
    full={"bits": 8, "width": 4096, "networks": 2000, "draws": 20_000},
    figure=figure,
)
