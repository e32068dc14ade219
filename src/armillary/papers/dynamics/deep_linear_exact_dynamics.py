"""Exact solutions to the nonlinear dynamics of learning in deep linear neural networks (2013).

Claim: a two-layer linear network learns each singular mode of its task along a closed-form sigmoid, in a time
inversely proportional to the mode's strength s. From orthogonal initial layers the number of steps to learn does
not depend on depth; from scaled Gaussian ones it does.
Control: one weight matrix instead of two, whose modes all relax in the same time; Gaussian layers of variance
1/width instead of orthogonal ones.
Scope: whitened inputs; a planted task, and digits (reported). Unsupervised pretraining and nonlinear networks at the
edge of chaos are not here. From a random start half-times follow the law while the curve is up to a quarter of s off
(reported): modes that share hidden units wait for each other.
Departures: with whitened inputs, descent on examples is descent on the distance to their correlation matrix, which
is what is trained on. In the depth sweep the targets are 4 random orthonormal rows, since a start whose square
product has the wrong determinant must carry a mode through zero. That design was settled on seeds 0 to 7, which
are skipped. Rates go up to 1.6/layers: from orthogonal layers the curvature is the number of layers, so descent is
stable below 2/layers, and the best rate must lie inside the grid (in a first run it was the last one, 0.9). Counts
end at 100 steps instead of 300: only Gaussian layers get there.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import digits
from armillary.lab import Check, Report, Study, at_most, between
from armillary.measure import first_crossing, growing_start, mode_curve, mode_strengths, power_law
from armillary.nn import end_to_end, orthogonal
from armillary.train import fit


def load(task: str) -> tuple[np.ndarray, ...]:
    """u, s and v of the correlation of digits, whitened in 20 principal components, with their labels."""
    if task == "planted":
        return ()
    x, y = digits()
    scores = np.linalg.svd(x - x.mean(0), full_matrices=False)[0][:, :20] * len(x) ** 0.5
    u, s, vt = np.linalg.svd((np.eye(10)[y] - 0.1).T @ scores / len(x), full_matrices=False)
    return tuple(a.astype(np.float32) for a in (u[:, :9], s[:9], vt[:9].T))


def loss(weights, target):
    return jnp.sum((end_to_end(weights) - target) ** 2) / 2


def experiment(
    key,
    data,
    *,
    part: Literal["modes", "depth"] = "modes",
    task: Literal["planted", "digits"] = "planted",
    layers=2,
    aligned=0.0,
    strengths=(1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0),
    size=16,
    start=1e-3,
    rate=0.008,
    steps=15_000,
    every=10,
    depths=(6, 16, 48),
    shares=(0.1, 0.2, 0.4, 0.8, 1.2, 1.6),
    width=32,
    outputs=4,
    limit=100,
    gaussian=0.0,
):
    """`rate` is ηs of the strongest mode; `shares` are η times the number of layers."""
    if part == "depth":
        return depth(key, depths, jnp.array(shares), width, outputs, limit, gaussian)
    k_u, k_v, k_bases, k_random = jax.random.split(key, 4)
    if task == "digits":
        u, s, v = data
    else:
        s = jnp.array(strengths)
        u, v = (orthogonal(k, size, len(s)) for k in (k_u, k_v))
    hidden = [orthogonal(k, size, len(s)) for k in jax.random.split(k_bases, layers - 1)]
    bases = [v, *hidden, u]
    # Aligned: every layer carries mode i from one basis's i-th vector to the next's, with gain a₀^(1/layers).
    weights = tuple(
        jnp.where(
            aligned > 0.5,
            start ** (1 / layers) * out @ into.T,
            start * jax.random.normal(k, (len(out), len(into))),
        )
        for into, out, k in zip(bases, bases[1:], jax.random.split(k_random, layers))
    )
    a0 = (
        growing_start(weights[0], weights[1], u, v)
        if layers == 2
        else abs(mode_strengths(end_to_end(weights), u, v))
    )
    eta = rate / s.max()
    run = fit(
        loss,
        weights,
        (u * s) @ v.T,
        optax.sgd(eta),
        steps=steps,
        every=every,
        record=lambda weights: mode_strengths(end_to_end(weights), u, v),
    )
    time = jnp.arange(0.0, steps, every)
    sigmoid = mode_curve(time, s, a0, tau=1 / eta)
    half = first_crossing(time, run.record, s / 2)
    return {
        "strength": run.record,
        "sigmoid": sigmoid,
        "curve_error": (abs(run.record - sigmoid) / s).max(),
        "time_slope": power_law(s, half / jnp.log(s / a0 - 1)).slope,
        "half_time": half * eta,
        "predicted_half_time": jnp.log(s / a0 - 1) / (2 * s),
        "mode_target": s,
    }


def depth(key, depths, shares, width, outputs, limit, gaussian):
    """Steps of descent until a tenth of the targets' square is left, at each depth and rate."""
    k_target, k_last, k_layers = jax.random.split(key, 3)
    target = orthogonal(k_target, outputs, width)

    def layer(key, rows):
        random = jax.random.normal(key, (rows, width)) / width**0.5
        return jnp.where(gaussian > 0.5, random, orthogonal(key, rows, width))

    layers = jax.vmap(lambda k: layer(k, width))(jax.random.split(k_layers, max(depths) - 1))
    last = layer(k_last, outputs)

    def descend(setting):
        # One program for all depths: the layers beyond `count` stay the identity.
        count, share = setting
        used = (jnp.arange(len(layers)) < count - 1)[:, None, None]
        frozen = optax.stateless(lambda updates, _: (jnp.where(used, updates[0], 0), updates[1]))
        optimizer = optax.chain(optax.sgd(share / count), frozen)
        run = fit(loss, (jnp.where(used, layers, jnp.eye(width)), last), target, optimizer, steps=limit)
        left = jnp.nan_to_num(2 * run.loss / outputs, nan=jnp.inf)
        return first_crossing(jnp.arange(float(limit)), left, 0.1)

    grid = [a.ravel() for a in jnp.meshgrid(jnp.array(depths), shares, indexing="ij")]
    taken = jax.lax.map(descend, grid).reshape(len(depths), len(shares))
    return {"steps_taken": jnp.minimum(taken, limit)}


def depth_ratio(arms):
    best = arms["orthogonal"].steps_taken.min("share")
    return best.isel(depth=-1) / best.isel(depth=0)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    run, control = arms["aligned"].isel(seed=0), arms["aligned, one matrix"].isel(seed=0)
    eta = 0.008 / float(run.mode_target.max())
    for i in range(len(run.mode)):
        shade = plt.get_cmap("viridis")(i / len(run.mode))
        dots = np.searchsorted(run.time * eta, np.linspace(0, 5, 40))
        axes[0].plot(run.time * eta, run.sigmoid.isel(mode=i), color=shade, lw=1)
        axes[0].plot(run.time[dots] * eta, run.strength.isel(mode=i)[dots], ".", color=shade, ms=4)
        axes[0].plot(control.time * eta, control.strength.isel(mode=i), ":", color="C3", lw=0.8)
    for style, label in (("k.", "trained, two layers"), ("k-", "theory"), ("C3:", "one matrix (control)")):
        axes[0].plot([], [], style, label=label)
    axes[0].set(xlim=(0, 5), ylim=(-0.3, 11.2), xlabel="time, steps · η", ylabel="strength of the mode")
    axes[0].set_title("Each mode follows its sigmoid")

    for name, colour, label in (
        ("random", "C0", "two layers"),
        ("random, one matrix", "C3", "one (control)"),
    ):
        arm = arms[name]
        logs = 2 * arm.predicted_half_time * arm.mode_target
        axes[1].plot(arm.mode_target.T, (arm.half_time / logs).T, ".", color=colour, alpha=0.5, ms=5)
        axes[1].plot([], [], ".", color=colour, label=label)
    s = run.mode_target.values
    axes[1].plot(s, 1 / (2 * s), "k-", lw=1, label="1/(2s)")
    axes[1].set(xscale="log", yscale="log", xlabel="strength s of the mode in the task")
    axes[1].set(ylabel="half-time / log(s/a₀ - 1)", title="… in a time that falls as 1/s,")
    axes[1].set_xticks([1, 2, 4, 8], ["1", "2", "4", "8"])
    axes[1].set_yticks([0.1, 0.2, 0.5], ["0.1", "0.2", "0.5"])

    arm = arms["digits"]
    axes[2].plot(arm.predicted_half_time.T, arm.half_time.T, ".", color="C0", alpha=0.5, ms=5)
    ends = [float(arm.predicted_half_time.min()), float(arm.half_time.max())]
    axes[2].plot(ends, ends, "k-", lw=1, label="equal")
    axes[2].set(xlabel="predicted half-time, steps · η", ylabel="measured")
    axes[2].set_title("… also on digits.")

    for name, colour in (("orthogonal", "C0"), ("Gaussian", "C3")):
        steps = arms[name].steps_taken.min("share")
        axes[3].plot(steps.depth, steps.mean("seed"), "o-", ms=4, color=colour, label=f"{name} layers")
        axes[3].fill_between(steps.depth, steps.min("seed"), steps.max("seed"), color=colour, alpha=0.2)
    axes[3].axhline(
        1.5 * float(arms["orthogonal"].steps_taken.min("share").isel(depth=0).mean()),
        color="k",
        ls="--",
        lw=0.8,
        label="1.5 × the shallowest",
    )
    axes[3].set(xscale="log", yscale="log", xlabel="layers", ylabel="steps to learn, best rate")
    axes[3].set_xticks(steps.depth, [str(d) for d in steps.depth.values])
    axes[3].set_yticks([1, 10, 100], ["1", "10", "100"])
    axes[3].set_title("Orthogonal starts: any depth")
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
    for ax in (axes[1], axes[3]):
        ax.minorticks_off()
    return fig


DEPTH = {"part": "depth"}

study = Study(
    experiment,
    arms={
        "aligned": {"aligned": 1.0},
        "random": {},
        "aligned, one matrix": {"aligned": 1.0, "layers": 1},
        "random, one matrix": {"layers": 1},
        "digits": {"task": "digits"},
        "orthogonal": DEPTH,
        "Gaussian": DEPTH | {"gaussian": 1.0},
    },
    checks=[
        Check(
            "closed-form",
            "from an aligned start every mode's strength is within 0.02 s of the sigmoid, throughout",
            lambda arms: arms["aligned"].curve_error,
            at_most(0.02),
            control={"aligned": "aligned, one matrix"},
            because="exact for gradient flow; steps of ηs = 0.008 lag behind it by less than 1%",
        ),
        Check(
            "inverse-time",
            "from a small random start the time to half strength, over its logarithm log(s/a₀ - 1), falls as 1/s",
            lambda arms: arms["random"].time_slope,
            between(-1.1, -0.9),
            control={"random": "random, one matrix"},
            because="τ/(2s) log(s/a₀ - 1), a slope of -1; room for modes that share hidden units at the start",
        ),
        Check(
            "depth-free",
            "from orthogonal layers, 48 take at most 1.5 times the steps of 6, each at its best rate",
            depth_ratio,
            at_most(1.5),
            control={"orthogonal": "Gaussian"},
            basis="pilot",
            because="a finite time however deep; the pilot saw 1.2, and 12 from Gaussian layers",
        ),
    ],
    reports=[
        Report(
            "random-curve",
            "largest distance from the sigmoid over s, random start with its a₀",
            lambda arms: arms["random"].curve_error,
        ),
        Report(
            "digits",
            "digits: largest |half-time / predicted - 1| over the nine modes",
            lambda arms: abs(arms["digits"].half_time / arms["digits"].predicted_half_time - 1).max("mode"),
        ),
    ],
    dims={
        **dict.fromkeys(("strength", "sigmoid"), ("time", "mode")),
        **dict.fromkeys(("half_time", "predicted_half_time", "mode_target"), ("mode",)),
        "steps_taken": ("depth", "share"),
    },
    coords={
        "time": lambda s: range(0, s["steps"], s["every"]),
        "depth": lambda s: list(s["depths"]),
        "share": lambda s: list(s["shares"]),
    },
    data=load,
    seeds=16,
    pilot_seeds=range(8),
    full={
        "depths": (6, 12, 24, 48, 100, 200, 400),
        "width": 64,
        "limit": 2000,
        "size": 64,
        "seeds": 32,
    },
    figure=figure,
)
