"""Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization (2023).

Claim: at the edge of stability two small groups of examples that share a large feature and carry different labels swing
against each other step by step, and far more than other examples. In a two-layer linear model it is the size of such
a feature that drives the sharpening.
Control: the same groups, labels, rate and steps without the shared feature; for the sharpening, one layer instead of two.
Scope: frames of raised brightness planted on ten zeros and ten ones of 400 digits; groups that nature planted are
not looked for. The comparison of Adam with SGD is not here.
Departures: the frame of the checks is 6 times as bright as the brightest pixel. At 3, where this study began, it adds
hardly more to the inputs' second moment than what all digits have in common (1.2 times; at 6 it is 4.9 times), and the
theory is about a feature that dominates. There, on seeds 500 to 507, the two groups opposed each other as well, but made
up less than half of the largest swings whatever the rate (0.08 to 0.2), the initial size, the width and the length of
training; the figure shows all brightnesses. That check's setting was thus chosen with numbers in sight. Its bound was
not moved, and those seeds are skipped. Initial weights are uniform in ±1/√n, as PyTorch draws them; the rate is 0.16.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import digits
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import alternation, most_swinging
from armillary.nn import MLP, end_to_end
from armillary.train import edge_of_stability_trace

FRAME = np.pad(np.zeros((6, 6)), 1, constant_values=1).ravel()


def load(part: str) -> tuple[np.ndarray, ...]:
    return digits() if part == "digits" else ()


def experiment(
    key,
    data,
    *,
    part: Literal["digits", "linear"] = "digits",
    images=400,
    group=10,
    amount=6.0,
    agree=0.0,
    width=64,
    rate=0.16,
    steps=300,
    settled=100,
    every=50,
    outlier=400.0,
    layers=2,
    start=0.05,
    linear_examples=200,
    linear_rate=0.02,
    linear_steps=1500,
):
    """`amount` is the frame's brightness (pixels reach 1); `agree` gives both groups one class; `outlier` is α."""
    if part == "linear":
        return linear(key, outlier, layers, start, linear_examples, linear_rate, linear_steps, every)
    k_draw, k_net, k_sharp = jax.random.split(key, 3)
    order = jax.random.permutation(k_draw, len(data[0]))
    x, y = (a[order[:images]] for a in data)
    zeros, ones = (jnp.argsort(y != digit)[: 2 * group] for digit in (0, 1))
    first, second = zeros[:group], jnp.where(agree > 0.5, zeros[group:], ones[:group])
    planted = jnp.zeros(images, bool).at[first].set(True).at[second].set(True)
    mean_image = x.mean(0)
    x = x + amount * planted[:, None] * FRAME
    targets = jax.nn.one_hot(y, 10)
    losses = lambda net, _: jnp.sum((net(x) - targets) ** 2, 1) / 2
    net = MLP((64, width, width, 10), k_net, bias=False, init="torch")
    run = edge_of_stability_trace(losses, net, (), rate, steps=steps, every=every, key=k_sharp)
    swinging = most_swinging(run.losses[settled:], 2 * group)
    size = jnp.abs(jnp.diff(run.losses[settled:], axis=0)).mean(0)
    return {
        "swing_share": planted[swinging].mean(),
        "outweighs": jnp.mean(size, where=planted) / jnp.mean(size, where=~planted),
        "dominance": planted.mean() * jnp.sum((amount * FRAME) ** 2) / jnp.sum(mean_image**2),
        "first": run.losses[:, first].mean(1),
        "second": run.losses[:, second].mean(1),
        "others": jnp.mean(run.losses, 1, where=~planted),
        "edge": rate * run.sharpness / 2,
        "shown": x[swinging[-1]],
    }


def linear(key, outlier, layers, start, examples, rate, steps, every):
    """Ten signals and one outlier, which a linear network sees in a twentieth of the examples."""
    k_x, k_truth, k_first, k_last = jax.random.split(key, 4)
    signal = jax.random.normal(k_x, (examples, 10))
    truth = jax.random.normal(k_truth, (10,))
    sign = jnp.where(jnp.arange(examples) % 40 == 0, 1.0, 0.0) - (jnp.arange(examples) % 40 == 1)
    x, y = jnp.column_stack([signal, jnp.sqrt(outlier) * sign]), signal @ truth / jnp.linalg.norm(truth)
    hidden = [start * jax.random.normal(k_first, (16, 11))] if layers == 2 else []
    net = (*hidden, start * jax.random.normal(k_last, (1, 16 if hidden else 11)))
    losses = lambda net, _: ((x @ end_to_end(net).T)[:, 0] - y) ** 2 / 2
    products = min(24, sum(w.size for w in net))
    run = edge_of_stability_trace(losses, net, (), rate, steps=steps, every=every, key=key, products=products)
    return {"sharpness": run.sharpness, "left": losses(run.params, ()).mean()}


def correlation(name):
    """How the two groups' mean loss changes go together once training has reached the edge."""

    def value(arms):
        run, settled = at_six(arms[name]), 100
        pairs = zip(run.first.values[:, settled:], run.second.values[:, settled:])
        return [alternation(np.diff(first), np.diff(second)) for first, second in pairs]

    return value


def at_six(arm):
    return arm.sel(amount=6.0) if "amount" in arm.dims else arm


def sharpening(arms):
    gain = [
        arms[name].sharpness.isel(point=-1) / arms[name].sharpness.min("point")
        for name in ("outlier", "signal")
    ]
    return gain[0] / gain[1]


def figure(arms):
    import matplotlib.pyplot as plt

    panels: Any = [["swing", "share", "sharp"], ["images", "share", "sharp"]]
    fig, axes = plt.subplot_mosaic(
        panels, figsize=(13, 4.2), height_ratios=[2.6, 1], width_ratios=[1.5, 1, 1], layout="constrained"
    )
    run, shown = at_six(arms["planted"]), slice(120, 160)
    for name, colour, label in (
        ("first", "C0", "ten zeros with the frame"),
        ("second", "C1", "ten ones with the frame"),
        ("others", "C2", "all other images"),
    ):
        curve = run[name].isel(seed=0).values[shown]
        axes["swing"].plot(np.arange(shown.start, shown.stop), curve, "-o", ms=3, color=colour, label=label)
    axes["swing"].set(xlabel="step", ylabel="mean loss")
    axes["swing"].set_title("Two groups with one large feature take turns")
    axes["swing"].legend(frameon=False, fontsize=8, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.1))
    images = run.shown.isel(seed=0).values[:8].reshape(8, 8, 8)
    row = np.concatenate([*np.pad(images, ((0, 0), (1, 1), (1, 1)), constant_values=np.nan)], 1)
    axes["images"].imshow(row, cmap="gray_r")
    axes["images"].axis("off")
    axes["images"].set_title("the eight images whose losses changed most in the last step", fontsize=9)

    planted = arms["planted"]
    axes["share"].plot(planted.amount, planted.swing_share.T, ".", color="C0", alpha=0.5)
    axes["share"].plot(planted.amount, planted.swing_share.mean("seed"), color="C0", label="two classes")
    one = arms["one class"].swing_share
    axes["share"].plot([6.0] * len(one), one, "x", color="C2", ms=4, label="one class")
    none = arms["no frame"].swing_share
    axes["share"].plot([0.0] * len(none), none, "o", color="C3", ms=4, label="no frame (control)")
    axes["share"].axhline(0.5, color="k", lw=0.8)
    axes["share"].axhline(0.05, color="k", lw=0.8, ls=":")
    axes["share"].annotate("chance", (12, 0.06), ha="right", fontsize=8)
    axes["share"].set(xlabel="brightness of the frame (digits: 1)", ylabel="share of the 5% that swing most")
    axes["share"].set_title("The larger the feature, the more so")
    axes["share"].legend(frameon=False, fontsize=8)

    for name, colour, label in (
        ("outlier", "C0", "α = 400"),
        ("signal", "C2", "α = 1"),
        ("outlier, one layer", "C3", "α = 400, one layer (control)"),
    ):
        curves = arms[name].sharpness / arms[name].sharpness.min("point")
        axes["sharp"].plot(arms[name].point, curves.mean("seed"), color=colour, label=label)
        axes["sharp"].fill_between(
            arms[name].point, curves.min("seed"), curves.max("seed"), color=colour, alpha=0.2
        )
    axes["sharp"].set(xlabel="step", ylabel="sharpness / its least value", yscale="log")
    axes["sharp"].set_title("In a linear model it drives sharpening")
    axes["sharp"].legend(frameon=False, fontsize=8)
    axes["swing"].set_gid("thumbnail")
    return fig


study = Study(
    experiment,
    arms={
        "planted": {"amount": [1.5, 3.0, 6.0, 12.0]},
        "no frame": {"amount": 0.0},
        "one class": {"agree": 1.0},
        "outlier": {"part": "linear"},
        "signal": {"part": "linear", "outlier": 1.0},
        "outlier, one layer": {"part": "linear", "layers": 1},
        "signal, one layer": {"part": "linear", "outlier": 1.0, "layers": 1},
    },
    requires=[
        Check(
            "edge",
            "over the last 100 steps rate · sharpness / 2 is at least 0.95 on average",
            lambda arms: at_six(arms["planted"]).edge.isel(sharp=slice(-3, None)).mean("sharp"),
            at_least(0.95),
            because="away from the edge of stability nothing swings",
        ),
    ],
    checks=[
        Check(
            "outsized",
            "at least half of the 5% of examples whose losses swing most are planted",
            lambda arms: at_six(arms["planted"]).swing_share,
            at_least(0.5),
            control={"planted": "no frame"},
            basis="pilot",
            because="ten times their share of the data; the frame's brightness was chosen after a look",
        ),
        Check(
            "alternating",
            "the two groups' loss changes correlate at -0.7 or less",
            correlation("planted"),
            at_most(-0.7),
            control={"planted": "no frame"},
            basis="convention",
            because="one group's loss rises as the other's falls: half of the variance of ranks in common",
        ),
        Check(
            "sharpening",
            "final over least sharpness is at least twice as large at α = 400 as at α = 1",
            sharpening,
            at_least(2),
            control={"outlier": "outlier, one layer", "signal": "signal, one layer"},
            because="the outer weights grow to 1 for the signal, and the curvature to max(2, α/20): 10 expected",
        ),
    ],
    reports=[
        Report(
            "dominance",
            "what the frame adds to the inputs' second moment, over the mean image's part",
            lambda arms: at_six(arms["planted"]).dominance,
        ),
        Report(
            "outweighs",
            "mean size of a planted example's loss change over another's",
            lambda arms: at_six(arms["planted"]).outweighs,
        ),
        Report(
            "weaker-frame",
            "share of planted among the 5% that swing most with a frame half as bright",
            lambda arms: arms["planted"].swing_share.sel(amount=3.0),
        ),
        Report(
            "one-class",
            "the same with both groups of one class, frame as in the check",
            lambda arms: arms["one class"].swing_share,
        ),
        Report("one-class-correlation", "their correlation", correlation("one class")),
    ],
    dims={
        **dict.fromkeys(("first", "second", "others"), ("step",)),
        "edge": ("sharp",),
        "sharpness": ("point",),
        "shown": ("image", "pixel"),
    },
    coords={"point": lambda s: list(range(0, s["linear_steps"] + 1, s["every"]))},
    data=load,
    pilot_seeds=range(500, 508),
    full={"images": 1600, "width": 256, "seeds": 16},
    figure=figure,
)
