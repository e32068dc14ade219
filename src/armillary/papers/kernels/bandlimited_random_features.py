"""How Powerful are Shallow Neural Networks with Bandlimited Random Weights? (2020).

Claim: with hidden weights drawn from a bounded range, the error of a random-feature network on a rapidly oscillating target
stops falling with width. Once the range exceeds the target's frequency, the same widths reach a small error.
Control: a range beyond the target's frequency; for the range that is needed, targets whose envelope varies and not their
frequency.
Scope: one input, a sine under a Gaussian envelope, Gaussian features, up to 1,024 of them. The floor belongs to a budget of
coefficients, here a ridge penalty of 1e-8 of the mean diagonal. Gaussian features keep it from 1e-4 to 1e-12, tanh, whose
frequencies fall off slower, has none at 1e-8; both are reported. The lower bound's constant is not evaluated.
"""

from typing import Literal

import jax.numpy as jnp
import numpy as np

from armillary.lab import Check, Report, Study, at_least, between
from armillary.measure import approximation_errors, bandwidth_floor, first_crossing
from armillary.nn import RandomFeatures, gaussian_bump

FREQUENCIES = (1, 2, 4)
NARROW, WIDE = 0.15, 2.0
PENALTIES = (1e-4, 1e-12)
WIDTHS = (64, 128, 256, 512, 1024)


def experiment(
    key,
    *,
    activation: Literal["gaussian", "tanh"] = "gaussian",
    widths=WIDTHS,
    points=1000,
    ranges=16,
    box=3.0,
):
    x = jnp.linspace(-box, box, points)[:, None]
    k = jnp.array(FREQUENCIES, x.dtype)
    wave = lambda k: jnp.sin(2 * jnp.pi * k * x)
    targets = wave(k) * jnp.exp(-(x**2) / 2)
    envelopes = wave(2.0) * jnp.exp(-2 * x**2 / k**2)
    activations = {"gaussian": gaussian_bump, "tanh": jnp.tanh}
    draw = lambda omega: RandomFeatures(key, max(widths), omega, box=box, activation=activations[activation])(
        x
    )

    # The same ranges for all targets, from a tenth of the slowest one's frequency to four times the fastest one's.
    grid = 2 * jnp.pi * jnp.geomspace(0.1 * min(FREQUENCIES), 4 * max(FREQUENCIES), ranges)
    swept = bandwidth_floor(draw, jnp.concatenate([targets, envelopes], 1), grid, widths[-1:])[:, 0]
    needed = jnp.exp(first_crossing(jnp.log(grid), jnp.log(swept), jnp.log(0.1)))

    def at(times, penalty=1e-8):
        """Errors by width and frequency, each frequency with its own range."""
        fits = [
            approximation_errors(draw(2 * jnp.pi * times * f), targets[:, [i]], widths, penalty=penalty)
            for i, f in enumerate(FREQUENCIES)
        ]
        return jnp.concatenate(fits, 1)

    # Of the middle frequency, how the floor depends on the budget.
    half = draw(2 * jnp.pi * NARROW * 2)
    budget = [
        approximation_errors(half, targets[:, [1]], (widths[1], widths[-1]), penalty=p)[:, 0]
        for p in PENALTIES
    ]
    return {
        "narrow": at(NARROW),
        "wide": at(WIDE),
        "swept": swept[:, : len(FREQUENCIES)],
        "needed": needed[: len(FREQUENCIES)],
        "needed_envelope": needed[len(FREQUENCIES) :],
        "floor_by_penalty": jnp.array([b[1] / b[0] for b in budget]),
    }


def floor(measurement, arm="gaussian"):
    """Error at the largest width over that at 128, the least of the frequencies."""

    def value(arms):
        errors = arms[arm][measurement]
        return (errors.sel(width=1024) / errors.sel(width=128)).min("frequency")

    value.__name__ = "a range of twice the frequency" if measurement == "wide" else measurement
    return value


def unlocked(measurement):
    def value(arms):
        run = arms["gaussian"].sel(width=1024)
        return (run[measurement] / run.wide).min("frequency")

    value.__name__ = "a range of twice the frequency" if measurement == "wide" else measurement
    return value


def exponent(measurement):
    def value(arms):
        needed = arms["gaussian"][measurement].transpose("frequency", "seed")
        return np.polyfit(np.log(FREQUENCIES), np.log(needed), 1)[0]

    value.__name__ = "the envelope's width in its place" if measurement == "needed_envelope" else measurement
    return value


def by_penalty(penalty):
    return lambda arms: arms["gaussian"].floor_by_penalty.isel(penalty=PENALTIES.index(penalty))


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained")
    run = arms["gaussian"]
    for i, f in enumerate(FREQUENCIES):
        for name, style in (("narrow", "o-"), ("wide", "o--")):
            errors = run[name].sel(frequency=f)
            label = f"frequency {f}" if name == "wide" else None
            left.plot(run.width, errors.median("seed"), style, color=f"C{i}", label=label, ms=4)
    left.set(
        xscale="log",
        yscale="log",
        xlabel="width",
        ylabel="relative error",
        title="A narrow range has a floor",
    )
    left.set_xticks(WIDTHS, [str(w) for w in WIDTHS])
    left.minorticks_off()
    left.text(250, 0.5, "range 0.15 × frequency (full lines)", va="top", fontsize=9)
    left.text(160, 3e-6, "range 2 × frequency (dashed)", ha="center", fontsize=9)
    left.set_ylim(1e-6, 3)
    left.legend(frameon=False, fontsize=9, loc="center right")
    omega = np.geomspace(0.1, 16, run.sizes["range"])
    for i, f in enumerate(FREQUENCIES):
        errors = run.swept.sel(frequency=f)
        right.plot(omega, errors.median("seed"), "o-", color=f"C{i}", ms=3, label=f"frequency {f}")
        right.fill_between(omega, errors.min("seed"), errors.max("seed"), color=f"C{i}", alpha=0.2, lw=0)
    right.axhline(0.1, color="k", ls=":", lw=1)
    right.set(
        xscale="log",
        yscale="log",
        xlabel="range Ω / 2π of the hidden weights",
        ylabel="relative error at width 1,024",
    )
    right.set_title("The range that is needed grows with the frequency")
    right.legend(frameon=False, fontsize=9)
    return fig


study = Study(
    experiment,
    arms={"gaussian": {}, "tanh": {"activation": "tanh"}},
    checks=[
        Check(
            "floor",
            "error at width 1,024 over that at 128, range 0.15 times the frequency, the least of three frequencies",
            floor("narrow"),
            at_least(0.8),
            control=floor("wide"),
            because="eight times the width must not buy a fifth, if the range binds",
        ),
        Check(
            "unlocked",
            "error at range 0.15 times the frequency over that at twice, width 1,024, the least of three frequencies",
            unlocked("narrow"),
            at_least(10.0),
            control=unlocked("wide"),
            because="a range that suffices exists, and the same width is enough for it",
        ),
        Check(
            "complexity-sets-range",
            "power of the frequency in the smallest range that reaches an error of 0.1, from 1 to 4",
            exponent("needed"),
            between(0.7, 1.3),
            control=exponent("needed_envelope"),
            because="features of range Ω have frequencies up to about Ω",
        ),
    ],
    reports=[
        Report("tanh-floor", "the floor's ratio for tanh", floor("narrow", "tanh")),
        Report("generous", "the ratio at frequency 2 with a penalty of 1e-12", by_penalty(1e-12)),
        Report("strict", "the same with a penalty of 1e-4", by_penalty(1e-4)),
    ],
    dims={
        **dict.fromkeys(("narrow", "wide"), ("width", "frequency")),
        "swept": ("range", "frequency"),
        **dict.fromkeys(("needed", "needed_envelope"), ("frequency",)),
        "floor_by_penalty": ("penalty",),
    },
    coords={"width": lambda s: s["widths"], "frequency": FREQUENCIES, "penalty": PENALTIES},
    seeds=6,
    full={"points": 8000, "ranges": 48},
    x64=True,
    figure=figure,
)
