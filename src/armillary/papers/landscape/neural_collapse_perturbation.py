"""Perturbation Analysis of Neural Collapse (2022).

Claim: features that start near given ones, with the ridge-optimal classifier on top at every moment, lose spread
within classes relative to the spread between them, step by step. Held near the given features by a penalty, they end
where a closed-form contraction of those features' deviations from their class means says.
Control: a random unit vector as every example's target instead of its class's; same features, penalties and flow.
Scope: Gaussian class clouds, and the last hidden layer of a small network on digits (reported). The theorem's limit of a
small vicinity is the flow without the penalty on leaving; with that penalty the fall need not be steady (reported).
Departures: a convolutional network's layers are replaced by a chain of vicinity models, each starting at the last one's
features (reported).
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import digits
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import class_scatter, neural_collapse
from armillary.measure.eigen import eigvalsh
from armillary.nn import MLP
from armillary.train import central_path, features_near, fit


def load(source: str) -> tuple[np.ndarray, ...]:
    """The first 174 images of each digit, which is what the rarest one has."""
    if source == "clouds":
        return ()
    x, y = digits()
    return (np.stack([x[y == c][:174] for c in range(10)]),)


def hidden_features(key, images, members, width):
    """What the last layer of a network reads that classifies most of its training images."""
    k_draw, k_net = jax.random.split(key)
    pick = jax.random.permutation(k_draw, images.shape[1])[:members]
    x, y = images[:, pick].reshape(-1, images.shape[2]), jnp.repeat(jnp.arange(10), members)
    loss = lambda net, _: optax.softmax_cross_entropy_with_integer_labels(net(x), y).mean()
    net = fit(loss, MLP((x.shape[1], 64, width, 10), k_net), (), optax.adam(3e-3), steps=100).params
    return net.features(x), y, jnp.mean(net(x).argmax(1) == y)


def experiment(
    key,
    data,
    *,
    source: Literal["clouds", "digits"] = "clouds",
    classes=4,
    members=50,
    width=20,
    random_targets=0.0,
    ridge=0.01,
    pull=0.0,
    pulls=(0.03, 0.1, 0.3, 1.0, 3.0),
    rate=0.1,
    steps=400,
    rounds=500,
    layers=5,
    layer_pull=1.0,
):
    """`ridge` is λ_W; `pull` the flow's λ_H, `pulls` those of the stationary points, `layer_pull` the chain's."""
    k_start, k_means, k_targets = jax.random.split(key, 3)
    trained = jnp.array(1.0)
    if source == "digits":
        start, labels, trained = hidden_features(k_start, data[0], members, width)
    else:
        labels = jnp.repeat(jnp.arange(classes), members)
        means = jax.random.normal(k_means, (classes, width))
        start = means[labels] + jax.random.normal(k_start, (len(labels), width))
    directions = jax.random.normal(k_targets, (len(labels), classes))
    directions /= jnp.linalg.norm(directions, axis=1, keepdims=True)
    targets = jnp.where(random_targets > 0.5, directions, jax.nn.one_hot(labels, classes))
    penalty = members * ridge
    scatter = lambda features: class_scatter(features, labels, classes)
    first = scatter(start)

    gradient = central_path(penalty, pull, start)
    flow = fit(
        lambda features, targets: gradient(features, targets)[0],
        start,
        targets,
        optax.sgd(rate),
        steps=steps,
        gradient=gradient,
        record=lambda features: scatter(features).ratio,
    )
    ratio = jnp.append(flow.record, scatter(flow.params).ratio)

    def near(pull):
        end = features_near(start, targets, penalty, pull, rounds=rounds)
        within, predicted = scatter(end.features).within, end.contraction @ first.within @ end.contraction
        return {
            "stationary_ratio": scatter(end.features).ratio / first.ratio,
            "contraction_error": jnp.linalg.norm(within - predicted) / jnp.linalg.norm(within),
            "spectrum": eigvalsh(within)[::-1] / jnp.trace(first.within),
            "predicted_spectrum": eigvalsh(predicted)[::-1] / jnp.trace(first.within),
        }

    def layer(features, _):
        end = features_near(features, targets, penalty, layer_pull, rounds=rounds)
        return end.features, scatter(end.features).ratio

    return {
        "ratio": ratio,
        "falls": jnp.mean(jnp.diff(ratio) < 0),
        "fall": ratio[-1] / ratio[0],
        "nc1": neural_collapse(flow.params, labels, classes=classes).nc1
        / neural_collapse(start, labels, classes=classes).nc1,
        "trained": trained,
        "chain": jnp.append(first.ratio, jax.lax.scan(layer, start, length=layers)[1]),
        **jax.lax.map(near, jnp.array(pulls)),
    }


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    styles = {
        "labels": ("C0", "-", "class targets"),
        "random targets": ("C3", "--", "random targets (control)"),
        "digits": ("C2", "-", "class targets, digits"),
    }
    for name, (colour, style, label) in styles.items():
        run = arms[name]
        relative = run.ratio / run.ratio.isel(step=0)
        for ax, curve in (
            (axes[0], relative),
            (axes[1], run.stationary_ratio),
            (axes[3], run.chain / run.chain.isel(layer=0)),
        ):
            at = curve[curve.dims[-1]]
            ax.plot(
                at,
                curve.mean("seed"),
                style,
                marker="" if ax is axes[0] else "o",
                ms=4,
                color=colour,
                label=label,
            )
            ax.fill_between(at, curve.min("seed"), curve.max("seed"), color=colour, alpha=0.15)
    pulled = arms["pulled"].ratio / arms["pulled"].ratio.isel(step=0)
    axes[0].plot(pulled.step, pulled.mean("seed"), ":", color="C0", label="class targets, held near")
    axes[0].axhline(0.9, color="k", ls="--", lw=0.8, label="the bound")
    axes[0].set(
        ylim=(0.55, None),
        xlabel="step",
        ylabel="within/between, over its start",
        title="Classes contract, step by step",
    )
    axes[1].set(
        xscale="log",
        xlabel=r"$\lambda_H$, how firmly features are held",
        ylabel="within/between, over its start",
    )
    axes[1].set_title("… less so where features are held,")
    for name, colour, marker in (("labels", "C0", "o"), ("random targets", "C3", "x")):
        run = arms[name].isel(seed=0)
        axes[2].plot(
            run.predicted_spectrum.values.ravel(),
            run.spectrum.values.ravel(),
            marker,
            ms=4,
            color=colour,
            alpha=0.6,
            label=styles[name][2],
        )
    ends = [float(arms["labels"].spectrum.min()), float(arms["random targets"].spectrum.max())]
    axes[2].plot(ends, ends, "k-", lw=0.8, label="equal")
    axes[2].set(xscale="log", yscale="log", xlabel="predicted variance within classes", ylabel="measured")
    axes[2].set_title("… as the closed form says,")
    axes[3].set(xlabel="layer of a chain", ylabel="within/between, over its start")
    axes[3].set_title("… and again in every layer")
    for ax in axes:
        ax.legend(frameon=False, fontsize=8)
    return fig


RANDOM = {"labels": "random targets"}

study = Study(
    experiment,
    arms={
        "labels": {},
        "random targets": {"random_targets": 1.0},
        "pulled": {"pull": 0.1},
        "digits": {"source": "digits", "classes": 10, "members": 100},
    },
    requires=[
        Check(
            "closed-form",
            "at the stationary points the covariance within classes is the contraction's, M S₀ M",
            lambda arms: arms["labels"].contraction_error.max("pull"),
            at_most(1e-3),
            because="exact at a stationary point: the solver has converged and the derivation is coded right",
        ),
    ],
    checks=[
        Check(
            "monotone",
            "the ratio of spread within to spread between classes falls on at least 99% of steps",
            lambda arms: arms["labels"].falls,
            at_least(0.99),
            control=RANDOM,
            because="a theorem for the flow; finite steps may cost a few",
        ),
        Check(
            "less-variable",
            "after the flow the ratio is at most 0.9 of its start",
            lambda arms: arms["labels"].fall,
            at_most(0.9),
            control=RANDOM,
            basis="convention",
            because="the theorem says below 1; a tenth makes it material",
        ),
    ],
    reports=[
        Report("nc1", "the same through tr(Σ_W Σ_B⁺)", lambda arms: arms["labels"].nc1),
        Report("pulled", "share of falling steps with a pull of 0.1", lambda arms: arms["pulled"].falls),
        Report(
            "random-form",
            "distance from the contraction with random targets",
            lambda arms: arms["random targets"].contraction_error.max("pull"),
        ),
        Report("digits-monotone", "digits: share of falling steps", lambda arms: arms["digits"].falls),
        Report(
            "digits-fall", "digits: the ratio after the flow over its start", lambda arms: arms["digits"].fall
        ),
        Report(
            "digits-trained", "digits: training accuracy of the network", lambda arms: arms["digits"].trained
        ),
    ],
    dims={
        "ratio": ("step",),
        **dict.fromkeys(("stationary_ratio", "contraction_error"), ("pull",)),
        **dict.fromkeys(("spectrum", "predicted_spectrum"), ("pull", "mode")),
        "chain": ("layer",),
    },
    coords={
        "step": lambda s: range(s["steps"] + 1),
        "pull": lambda s: list(s["pulls"]),
        "layer": lambda s: range(s["layers"] + 1),
    },
    data=load,
    x64=True,
    full={"members": 150, "width": 64, "steps": 4000, "rounds": 2000, "layers": 12, "seeds": 16},
    figure=figure,
)
