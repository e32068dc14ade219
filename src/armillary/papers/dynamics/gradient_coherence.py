"""On the Generalization Mystery in Deep Learning (2022).

Claim: on the same images and network, m-coherence (how many examples one example's step helps) midway through
training is several times larger with real labels than with random ones; and following the median of three small
micro-batches' gradients instead of their mean holds back the fit of corrupted labels and improves test accuracy.
Control: the real labels permuted over the images. For the median: micro-batches of 16 instead of 4, in which a
minority of examples can no longer be outvoted; and the mean with its rate lowered to the median's step length.
Scope: an MLP 64-32-10 on scikit-learn's digits, not ImageNet networks; winsorized descent and the stability bound
are not checked. "Midway" is where the training loss first is half of its start: equal progress, not equal time.
Only where descent is smooth: at rate 0.5 (reported) it oscillates on random labels, an overshoot that all
examples share, and m-coherence counts it.
Departures: full-batch rate 0.1 and 3,000 steps instead of 0.5 and 1,500, so that the training loss falls at every
recorded step up to the comparison, which is a precondition. Settled on seeds 0 to 7, which are skipped.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import corrupt_labels, digits, mnist
from armillary.lab import Check, Report, Study, at_least
from armillary.measure import (
    accuracy,
    cross_entropy,
    example_overlap,
    m_coherence_streamed,
    per_example_gradients,
)
from armillary.nn import MLP
from armillary.train import fit, median_of_means, reduced_gradient

RULES = ("mean", "slowed mean", "median")
POINTS = 60
MICRO = 20
"""Examples whose gradients are held at once: of all 300 they would not fit into a core's cache."""


def load(source: str) -> tuple[np.ndarray, np.ndarray]:
    return digits() if source == "digits" else mnist(14)  # type: ignore[return-value]


def loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def experiment(
    key,
    data,
    *,
    part: Literal["coherence", "memory"] = "coherence",
    source: Literal["digits", "mnist"] = "digits",
    train=300,
    hidden=(32,),
    noise=0.0,
    permuted=0.0,
    rate=0.1,
    steps=3000,
    every=5,
    micro=4,
):
    order_key, weight_key, label_key, batch_key = jax.random.split(key, 4)
    order = jax.random.permutation(order_key, len(data[0]))
    (x, y), test = ([a[order[s]] for a in data] for s in (slice(train), slice(train, None)))
    labels = jnp.where(
        permuted > 0.5,
        corrupt_labels(label_key, y, noise, kind="permuted"),
        corrupt_labels(label_key, y, noise, kind="random"),
    )
    model = MLP((x.shape[1], *hidden, 10), weight_key)
    if part == "coherence":
        return coherence(model, (x, labels), rate, steps, every)
    return memory(model, (x, labels), labels != y, test, batch_key, rate, steps, micro, every)


def coherence(model, batch, rate, steps, every):
    """m-coherence along full-batch descent, and where the training loss is half of its start."""

    def record(model):
        return (
            m_coherence_streamed(loss, model, batch, micro=MICRO),
            jnp.argmax(model(batch[0]), -1) == batch[1],
        )

    run = fit(loss, model, batch, optax.sgd(rate), steps=steps, every=every, record=record)
    value, right = run.record
    half = run.loss <= run.loss[0] / 2
    before = jnp.arange(len(half)) < jnp.argmax(half)
    shown = np.unique(np.geomspace(1, len(half), POINTS).astype(int)) - 1
    return {
        "coherence": jnp.where(half.any(), value[jnp.argmax(half)], jnp.nan),
        "smooth": half.any() & jnp.all(~before[:-1] | (jnp.diff(run.loss) < 0)),
        "coherence_curve": value[shown],
        "loss_curve": run.loss[shown],
        "overlap": example_overlap(per_example_gradients(loss, model, batch)),
        "learnt": jnp.where(right.any(0), jnp.argmax(right, 0), len(right)) * every,
    }


def memory(model, batch, wrong, test, key, rate, steps, micro, every):
    """Fit of the corrupted labels and test accuracy under the three ways to combine three micro-batches."""

    def draw(key):
        rows = jax.random.randint(key, (3 * micro,), 0, len(wrong))
        return batch[0][rows], batch[1][rows]

    def record(model):
        fitted = jnp.argmax(model(batch[0]), -1) == batch[1]
        share = lambda of: jnp.sum(fitted & of) / jnp.sum(of)
        return share(wrong), share(~wrong), accuracy(model(test[0]), test[1])

    stacked = reduced_gradient(loss, lambda grads: grads, groups=3)

    def median(model, batch):
        # In the loss's place in the curve: how long the median is, as a share of the mean.
        _, grads = stacked(model, batch)
        middle, mean = median_of_means(grads), jax.tree.map(lambda g: g.mean(0), grads)
        return optax.tree.norm(middle) / optax.tree.norm(mean), middle

    def run(rate, gradient=None):
        done = fit(
            loss,
            model,
            draw,
            optax.sgd(rate),
            steps=steps,
            key=key,
            every=every,
            record=record,
            gradient=gradient,
        )
        curves = jax.tree.map(lambda c, last: jnp.append(c, last), done.record, record(done.params))
        return done.loss, curves

    length, middle = run(rate, median)
    _, means = jax.vmap(run)(rate * jnp.stack([jnp.ones(()), length.mean()]))
    memorised, clean, tested = jax.tree.map(lambda a, b: jnp.concatenate([a, b[None]]), means, middle)
    return {
        "memorised": memorised,
        "clean": clean,
        "tested": tested,
        "length": length.mean(),
        "step": jnp.arange(0, steps + 1, every),
    }


def ratio(arms, real="real", random="random"):
    return arms[real].coherence / arms[random].coherence


def last(arms, name, rule):
    return arms["micro-batches of 4"][name].sel(rule=rule).isel(point=-1)


def memory_gap(arms):
    return last(arms, "memorised", "mean") - last(arms, "memorised", "median")


def slowed_mean_memory_gap(arms):
    return last(arms, "memorised", "mean") - last(arms, "memorised", "slowed mean")


def test_gain(arms):
    return last(arms, "tested", "median") - last(arms, "tested", "mean")


def slowed_mean_test_gain(arms):
    return last(arms, "tested", "slowed mean") - last(arms, "tested", "mean")


def early_order(arms):
    from scipy.stats import spearmanr

    run = arms["real"]
    return [spearmanr(a, -b).statistic for a, b in zip(run.overlap.values, run.learnt.values)]


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    for i, name in enumerate(("real", "half random", "random", "permuted")):
        run = arms[name]
        style = {"color": f"C{i}", "lw": 0.8, "alpha": 0.6, "ls": ":" if name == "permuted" else "-"}
        axes[0].plot(run.loss_curve.T, run.coherence_curve.T, **style)
        axes[0].plot([], [], color=f"C{i}", ls=style["ls"], label=f"{name} labels")
    axes[0].axhline(1, color="k", lw=0.8)
    axes[0].set(xlabel="training loss, nats (training runs to the right)", ylabel="m-coherence, examples")
    axes[0].set(yscale="log", ylim=(0.02, 40), title="Real labels share gradients")
    axes[0].invert_xaxis()
    run = arms["micro-batches of 4"]
    for ax, name in zip(axes[1:], ("memorised", "tested")):
        for i, rule in enumerate(RULES):
            curve, step = run[name].sel(rule=rule), run.step[0]
            ax.plot(step, curve.mean("seed"), color=f"C{i}", label=rule)
            ax.fill_between(step, curve.min("seed"), curve.max("seed"), color=f"C{i}", alpha=0.2)
        ax.set_xlabel("steps")
    axes[1].set(ylabel="share of corrupted labels fitted", title="The median memorises less …")
    axes[2].set(ylabel="test accuracy", title="… and tests better")
    for ax in axes:
        ax.legend()
    return fig


MEMORY = {"part": "memory", "train": 600, "noise": 0.5, "steps": 6000, "every": 50}
EDGE = {"rate": 0.5, "steps": 750, "every": 1}
LABELS = {
    "real": {},
    "half random": {"noise": 0.5},
    "random": {"noise": 1.0},
    "permuted": {"noise": 1.0, "permuted": 1.0},
}

study = Study(
    experiment,
    arms={
        **LABELS,
        "real, rate 0.5": EDGE,
        "random, rate 0.5": EDGE | {"noise": 1.0},
        "micro-batches of 4": MEMORY,
        "micro-batches of 16": MEMORY | {"micro": 16},
    },
    requires=[
        Check(
            "smooth",
            "the training loss falls steadily to half of its start, with real, random and permuted labels",
            lambda arms: arms["real"].smooth & arms["random"].smooth & arms["permuted"].smooth,
            at_least(1),
            because="there coherence is compared, and an oscillation would be counted as coherence",
        ),
    ],
    checks=[
        Check(
            "coherent-real",
            "m-coherence at half the starting loss is at least 3 times that with random labels",
            ratio,
            at_least(3),
            control={"real": "permuted"},
            basis="pilot",
            because="random labels leave nothing in common but the class prior: about 1, or less",
        ),
        Check(
            "blocks-memory",
            "the median fits at least 0.2 fewer of the corrupted labels",
            memory_gap,
            at_least(0.2),
            control=[{"micro-batches of 4": "micro-batches of 16"}, slowed_mean_memory_gap],
            basis="pilot",
            because="what few examples ask for is outvoted",
        ),
        Check(
            "helps-test",
            "the median's test accuracy is at least 0.03 higher",
            test_gain,
            at_least(0.03),
            control=slowed_mean_test_gain,
            basis="pilot",
            because="what is outvoted is noise, not structure",
        ),
    ],
    reports=[
        Report(
            "edge",
            "coherent-real's ratio at rate 0.5",
            lambda arms: ratio(arms, "real, rate 0.5", "random, rate 0.5"),
        ),
        Report(
            "early-order", "rank correlation of overlap at the start with being learnt early", early_order
        ),
        Report(
            "step-length",
            "the median's step as a share of the mean's",
            lambda arms: arms["micro-batches of 4"].length,
        ),
        Report(
            "clean-fit",
            "clean labels fitted, mean minus median",
            lambda arms: last(arms, "clean", "mean") - last(arms, "clean", "median"),
        ),
        Report(
            "slowed-test-gain",
            "test accuracy of the median minus the slowed mean",
            lambda arms: test_gain(arms) - slowed_mean_test_gain(arms),
        ),
    ],
    dims={
        **dict.fromkeys(("memorised", "clean", "tested"), ("rule", "point")),
        **dict.fromkeys(("coherence_curve", "loss_curve"), ("progress",)),
        **dict.fromkeys(("overlap", "learnt"), ("example",)),
        "step": ("point",),
    },
    coords={"rule": RULES},
    data=load,
    seeds=16,
    pilot_seeds=range(8),
    full={
        "source": "mnist",
        "hidden": (128,),
        "train": 1000,
        "steps": 6000,
        "seeds": 16,
        "arms": {
            **LABELS,
            "real, rate 0.5": EDGE,
            "random, rate 0.5": EDGE | {"noise": 1.0},
            "micro-batches of 4": MEMORY | {"train": 4000, "steps": 40_000},
            "micro-batches of 16": MEMORY | {"train": 4000, "steps": 40_000, "micro": 16},
        },
    },
    figure=figure,
)
