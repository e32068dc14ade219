"""Parallel Learning by Multitasking Neural Networks (2023).

Claim: a Hopfield network storing diluted patterns retrieves several at once: with signals that fall off geometrically up to a
predicted dilution, by majority beyond it, and equally strong at low temperature and strong dilution. Learning from averaged or
from single examples retrieves alike.
Control: no blanks, so that only one pattern is retrieved; for each law a dilution on the other side; for the learning rules, a
tenth of the examples.
Scope: three patterns, zero temperature and one low one, all units updated at once from a start between the patterns. The free
energy is represented by its fixed points. Just above the border signals are not equal at zero temperature, as the paper's phase
diagram would have it: conflicts of two still go to the stronger pattern, and equality needs some warmth.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.lab import Check, Report, Study, at_most
from armillary.measure import (
    hierarchical_magnetizations,
    majority_magnetizations,
    multitasking_magnetizations,
)
from armillary.nn import HopfieldNetwork

DILUTIONS = (0.0, 0.2, 0.4, 0.5, 0.55, 0.65, 0.7, 0.85)
BELOW = (0.2, 0.4, 0.5, 0.55)
WARM = (0.4, 0.85)
EXAMPLES = (5, 20, 80, 320)
TEMPERATURE = 0.06


def diluted(key, dilution, units):
    k_sign, k_blank = jax.random.split(key)
    signs = jax.random.rademacher(k_sign, (3, units), float)
    return jnp.where(jax.random.bernoulli(k_blank, dilution, (3, units)), 0.0, signs)


def between(patterns):
    """A start that leans to the first pattern, then the second; where all three are blank, it is 1."""
    field = jnp.array([4.0, 2.0, 1.0]) @ patterns
    return jnp.where(field == 0, 1.0, jnp.sign(field))


def experiment(key, *, units=100_000, warm_units=100_000, learners=5000, quality=0.4, dilution=0.4, steps=60):
    """`dilution`, `quality`: of the patterns that are learned from examples, and (chance of a right entry)·2 − 1."""
    k_cold, k_warm, k_learn = jax.random.split(key, 3)

    def run(network, state, length):
        return jax.lax.scan(lambda s, _: (network.step(s), None), state, length=length)[0]

    def cold(d, key):
        patterns = diluted(key, d, units)
        end = run(HopfieldNetwork.hebbian(patterns), between(patterns), steps)
        return -jnp.sort(-abs(patterns @ end / units))

    def warm(d, key):
        k_patterns, k_noise = jax.random.split(key)
        patterns = diluted(k_patterns, d, warm_units)
        network = HopfieldNetwork.hebbian(patterns)

        def step(state, key):
            state = network.step(state, temperature=TEMPERATURE, key=key)
            return state, network.overlaps(state)

        _, overlaps = jax.lax.scan(step, between(patterns), jax.random.split(k_noise, steps))
        return -jnp.sort(-jnp.mean(overlaps[steps // 2 :], 0))

    def learn(key):
        k_patterns, k_right = jax.random.split(key)
        patterns = diluted(k_patterns, dilution, learners)
        right = jax.random.bernoulli(k_right, (1 + quality) / 2, (3, max(EXAMPLES), learners))
        examples = jnp.where(right, 1.0, -1.0) * patterns[:, None]

        def first(rule, count):
            end = run(rule(examples, count), between(patterns), steps)
            return jnp.max(abs(patterns @ end / learners))

        counts = jnp.array(EXAMPLES)
        each = lambda rule, counts: jax.lax.map(lambda count: first(rule, count), counts)
        return jnp.stack(
            [
                each(HopfieldNetwork.supervised, counts),
                each(HopfieldNetwork.unsupervised, counts),
                each(HopfieldNetwork.unsupervised, jnp.maximum(counts // 10, 1)),
            ]
        )

    keys = lambda key, over: jax.random.split(key, len(over))
    return {
        "cold": jax.lax.map(lambda a: cold(*a), (jnp.array(DILUTIONS), keys(k_cold, DILUTIONS))),
        "warm": jax.lax.map(lambda a: warm(*a), (jnp.array(WARM), keys(k_warm, WARM))),
        "learned": learn(k_learn),
    }


def law(which, dilution):
    laws = {"hierarchical": lambda d: hierarchical_magnetizations(d, 3), "majority": majority_magnetizations}
    return np.asarray(laws[which](dilution))


def off(which, dilutions, of=None):
    """Largest difference of a retrieved magnetization from a law; `of`: from the law of another dilution."""

    def value(arms):
        found = arms["network"].cold
        errors = [
            abs(found.sel(cold_dilution=d).transpose("seed", "signal").values - law(which, of or d)).max(1)
            for d in dilutions
        ]
        return np.max(errors, 0)

    value.__name__ = f"dilution {dilutions[0]:g}"
    return value


def spread(dilution):
    def value(arms):
        m = arms["network"].warm.sel(warm_dilution=dilution)
        return (m.isel(signal=0) - m.isel(signal=2)) / m.mean("signal")

    value.__name__ = f"dilution {dilution:g}"
    return value


def cold_spread(arms):
    m = arms["network"].cold.sel(cold_dilution=0.85)
    return (m.isel(signal=0) - m.isel(signal=2)) / m.mean("signal")


def theory_spread(arms):
    start = law("hierarchical", 0.85)
    m = np.asarray(multitasking_magnetizations(0.85, jnp.array(start), temperature=TEMPERATURE, steps=500))
    return (m[0] - m[2]) / m.mean() + 0 * cold_spread(arms)


def rule_gap(rule):
    def value(arms):
        m = arms["network"].learned
        return abs(m.sel(rule="averages") - m.sel(rule=rule)).max("examples")

    value.__name__ = "a tenth of the examples" if rule == "a tenth" else rule
    return value


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained", width_ratios=(1.6, 1))
    run = arms["network"]
    d = np.linspace(0, 0.95, 200)
    border = (5**0.5 - 1) / 2
    hierarchical = np.array([law("hierarchical", x) for x in d])
    majority = np.array([law("majority", x) for x in d])
    for k, colour in enumerate(("C0", "C1", "C2")):
        left.plot(d[d < border], hierarchical[d < border, k], "-", color=colour, label=f"signal {k + 1}")
        left.plot(d[d > border], majority[d > border, k], "--", color=colour)
        for values in run.cold.isel(signal=k).values:
            left.plot(DILUTIONS, values, "o", color=colour, ms=4, alpha=0.5)
        left.plot(
            np.full(run.sizes["seed"], 0.87),
            run.warm.sel(warm_dilution=0.85).isel(signal=k),
            "x",
            color=colour,
        )
    left.axvline(border, color="k", lw=1, ls=":")
    left.text(border, 1.0, " border: the golden ratio, 0.618", va="top", fontsize=9)
    left.text(0.97, 0.13, "crosses:\nT = 0.06", fontsize=8, ha="center")
    left.set(xlabel="dilution d, share of blanks", ylabel="magnetization", ylim=(0, 1.05))
    left.set_title("Geometric below the border, by majority above")
    left.legend(frameon=False, fontsize=9)
    styles = (
        ("averages", "C0", "averages of examples"),
        ("single", "C3", "single examples"),
        ("a tenth", "0.6", "a tenth of them"),
    )
    for rule, colour, label in styles:
        m = run.learned.sel(rule=rule)
        right.plot(EXAMPLES, m.mean("seed"), "o-", color=colour, label=label)
        right.fill_between(EXAMPLES, m.min("seed"), m.max("seed"), color=colour, alpha=0.2, lw=0)
    right.set(xscale="log", xlabel="examples a pattern", ylabel="strongest signal, d = 0.4", ylim=(0, None))
    right.set_xticks(EXAMPLES, [str(m) for m in EXAMPLES])
    right.minorticks_off()
    right.set_title("Two ways to learn from noisy examples")
    right.legend(frameon=False, fontsize=9, loc="lower right")
    return fig


study = Study(
    experiment,
    arms={"network": {}},
    checks=[
        Check(
            "hierarchical",
            "largest difference of a signal from (1 − d) dᵏ⁻¹, at dilutions 0.2 to 0.55",
            off("hierarchical", BELOW),
            at_most(0.01),
            control=off("hierarchical", (0.0,), of=0.4),
            because="exact for infinitely many units; fluctuations are about 0.002 at 100,000, and the largest of twelve twice that",
        ),
        Check(
            "beyond-border",
            "largest difference of a signal from the majority law, at dilution 0.65",
            off("majority", (0.65,)),
            at_most(0.01),
            control=off("majority", (0.5,)),
            because="three signals at odds: two outvote the first; the other law is off by (1 − d)³/2 = 0.021",
        ),
        Check(
            "parallel",
            "strongest less weakest signal over their mean, at dilution 0.85 and temperature 0.06",
            spread(0.85),
            at_most(0.1),
            control=spread(0.4),
            because="m = E ξ tanh(Σ mξ/T) flows to 0.126 for all three; at dilution 0.4 to a spread of 1.7",
        ),
        Check(
            "same-thresholds",
            "difference of the strongest signal between the two learning rules, the largest of 5 to 320 examples",
            rule_gap("single"),
            at_most(0.05),
            control=rule_gap("a tenth"),
            because="at a low load both see each pattern's average; the noise they leave differs",
        ),
    ],
    reports=[
        Report("theory-warm", "the spread in theory at dilution 0.85 and temperature 0.06", theory_spread),
        Report("cold", "the spread at dilution 0.85 and temperature 0", cold_spread),
    ],
    dims={
        "cold": ("cold_dilution", "signal"),
        "warm": ("warm_dilution", "signal"),
        "learned": ("rule", "examples"),
    },
    coords={
        "cold_dilution": DILUTIONS,
        "warm_dilution": WARM,
        "rule": ["averages", "single", "a tenth"],
        "examples": EXAMPLES,
    },
    full={"units": 1_000_000, "warm_units": 4_000_000, "learners": 20_000},
    figure=figure,
)
