"""Learning Hierarchical Polynomials with Three-Layer Neural Networks (2023).

Claim: for a target g(p(x)) with a quadratic p of full rank and E g'(p) not 0, a three-layer network trained layer
by layer on a number of examples in proportion to d² recovers p, and does as well in high dimension as in low. It
beats every kernel: here the best possible one, which knows g and the law of p, and whose examples must grow as d⁴.
Control: an outer polynomial with E g'(p) = 0 and the same p: nothing in the responses' correlations with quadratics
points to p. For the growth with d: the kernel on the same examples. For the gain: the first stage's feature alone.
Scope: d up to 32 and 4d² examples. The kernel's exponent 4 is seen as failure to keep up, not measured. The inner
units are quadratic (He₂), which gives the network the degree of p; ReLU units, which do not have it, are reported.
Departures: stage 1 has momentum and no weight decay, and takes 80% of the examples. It was first stopped where the
error on the other 20% was least, as one would without theory; that is too soon (at d = 28 p was recovered to 0.76
instead of 0.81), since the error of a feature that only has to be proportional to p also counts its size. Sizes and
the bound on the ratio were settled on seeds 100 to 103, which are skipped.
"""

from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import hermite, hierarchical_polynomial, optimal_kernel
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import feature_recovery
from armillary.train import kernel_ridge, layerwise_three_layer

DIMS = [12, 16, 24, 32]
SHOWN = 200


def rbf(x, z):
    squares = (x**2).sum(1)[:, None] + (z**2).sum(1) - 2 * x @ z.T
    return jnp.exp(-squares / (4 * x.shape[1]))


def experiment(
    key,
    *,
    dim=DIMS,
    per_square=4,
    slope=0.5**0.5,
    units: Literal["quadratic", "relu"] = "quadratic",
    kernel: Literal["optimal", "rbf"] = "optimal",
    width_per_square=4,
    steps=60,
    test=2048,
):
    """n = per_square·d² examples of g(z) = slope·z + √(1 - slope²)·(z² - 1)/√2, so that E g' = slope."""
    k_target, k_x, k_net = jax.random.split(key, 3)
    n = per_square * dim**2
    outer = (0.0, slope, jnp.sqrt(1 - slope**2))
    target = hierarchical_polynomial(k_target, dim, outer=outer)
    x = jax.random.normal(k_x, (n + test, dim))
    p, y = target.inner(x), target(x)
    error = lambda guess: jnp.mean((guess - y[n:]) ** 2) / jnp.mean(y[n:] ** 2)

    network = layerwise_three_layer(
        k_net,
        x[:n],
        y[:n],
        width=width_per_square * dim**2,
        activation=jax.nn.relu if units == "relu" else partial(hermite, 2),
        bias=1.0 if units == "relu" else 0.0,
        steps=steps,
    )
    feature = network.feature(x)
    between = partial(optimal_kernel, outer=outer) if kernel == "optimal" else rbf
    kernel_guess = kernel_ridge(between(x[:n], x[:n]), y[:n], between(x[n:], x[:n]))
    u, level = feature[:n] - feature[:n].mean(), y[:n].mean()
    line = level + (u @ (y[:n] - level)) / (u @ u) * (feature[n:] - feature[:n].mean())
    return {
        "recovery": feature_recovery(feature[n:], p[n:]),
        "network": error(network(x[n:])),
        "kernel_method": error(kernel_guess),
        "first_stage": error(line),
        "p": p[n:][:SHOWN],
        "feature": feature[n:][:SHOWN],
    }


def largest(run):
    return run.isel(dim=-1)


def recovery(arms):
    return largest(arms["composed"]).recovery


def ratio(arms):
    run = largest(arms["composed"])
    return run.network / run.kernel_method


def first_stage_alone(arms):
    run = largest(arms["composed"])
    return run.first_stage / run.kernel_method


def growth(error):
    """The slope of log error on log d."""
    d = np.log(error.dim) - np.log(error.dim).mean()
    return (np.log(error) * d).sum("dim") / (d**2).sum()


def network_growth(arms):
    return growth(arms["composed"].network)


def optimal_kernel_instead(arms):
    return growth(arms["composed"].kernel_method)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for ax, arm, title in (
        (axes[0], "composed", "The learned feature is p …"),
        (axes[1], "no slope", "… unless E g′(p) = 0"),
    ):
        run = largest(arms[arm]).isel(seed=0)
        ax.plot(run.p, run.feature, ".", color="C0" if arm == "composed" else "C3", ms=4)
        ax.set(xlabel="hidden quadratic p(x)", ylabel="learned feature u(x), standardized", title=title)
        words = f"d = {int(run.dim)}, correlation {float(run.recovery):.2f}\n(bound: at least 0.8)"
        ax.set_ylim(top=1.3 * float(run.feature.max()))  # room for the words
        ax.text(0.04, 0.98, words, transform=ax.transAxes, va="top", fontsize=9)
    ax = axes[2]
    for arm, name, colour, style, label in (
        ("composed", "network", "C0", "-", "three-layer network"),
        ("composed", "first_stage", "C2", ":", "its first stage alone (control)"),
        ("composed", "kernel_method", "C1", "-", "best possible kernel"),
        ("no slope", "network", "C3", "--", "network, E g′(p) = 0 (control)"),
        ("no slope", "kernel_method", "C1", "--", "best kernel, E g′(p) = 0"),
    ):
        values = arms[arm][name]
        ax.plot(values.dim, values.mean("seed"), "o" + style, ms=4, color=colour, label=label)
        ax.fill_between(values.dim, values.min("seed"), values.max("seed"), color=colour, alpha=0.15, lw=0)
    ax.set(
        xscale="log", xlabel="dimension d, with 4d² examples", ylabel="test error / variance", ylim=(0, 1.5)
    )
    ax.set_xticks(values.dim, [str(d) for d in values.dim.values], minor=False)
    ax.minorticks_off()
    ax.set_title("Its error does not grow with d")
    ax.legend(frameon=False, fontsize=7.5, loc="upper right", ncols=1)
    return fig


study = Study(
    experiment,
    arms={
        "composed": {},
        "no slope": {"slope": 0.0},
        "ReLU units": {"units": "relu", "dim": [24]},
    },
    checks=[
        Check(
            "recovers-p",
            "at the largest d the feature's correlation with p is at least 0.8",
            recovery,
            at_least(0.8),
            control={"composed": "no slope"},
            because="p is half of the responses' variance; noise and what p² has of degree 2 leave about 0.85",
        ),
        Check(
            "beats-kernel",
            "there the network's error is at most 0.9 of the best possible kernel's",
            ratio,
            at_most(0.9),
            control=[{"composed": "no slope"}, first_stage_alone],
            basis="pilot",
            because="the kernel has the quadratic half of the variance and little of the other, the network both",
        ),
        Check(
            "sample-law",
            "with 4d² examples the network's error does not grow with d",
            network_growth,
            at_most(0.0),
            control=optimal_kernel_instead,
            because="d² examples are enough for the network at any d; the kernel needs d⁴",
        ),
    ],
    reports=[
        Report(
            "relu-units",
            "recovery of p at d = 24 by ReLU inner units, over that by quadratic ones",
            lambda arms: arms["ReLU units"].recovery.isel(dim=0) / arms["composed"].recovery.sel(dim=24),
        ),
        Report(
            "no-slope-growth",
            "the power of d in the network's error without slope (it learns next to nothing at any d)",
            lambda arms: growth(arms["no slope"].network),
        ),
    ],
    dims={"p": ("input",), "feature": ("input",)},
    full={"dim": [16, 24, 32, 48, 56], "steps": 120, "test": 4096, "seeds": 8},
    pilot_seeds=range(100, 104),
    figure=figure,
)
