"""Learned feature representations are biased by complexity, learning order, position, and more (2024).

Claim: a network that computes an easy and a hard feature equally well devotes several times more of its hidden variance to
the easy one. Learning the hard feature first reduces that bias.
Control: a second easy feature in the place of the hard one; for the order, the easy feature first.
Scope: a ReLU network on 32 random bits; the majority of three bits is easy, the parity of three others hard. Shares are
those of the last hidden layer. Position and architecture, also in the paper, are not here.
The order comes out against the paper: under Adam, what is learned second takes more room, at rates 1e-3 and 3e-4, with a
fresh optimizer for the second half or not, with two hidden layers and (by momentum) with four. With three, seeds disagree.
Under plain gradient descent the effect is as the paper says but small; it is reported.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import multi_feature_bits
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import feature_variance_share
from armillary.nn import MLP
from armillary.train import fit

FEATURES = ("easy", "hard")
EVERY = 100
DESCENT = {"method": "sgd", "rate": 0.1, "steps": 6000}


def experiment(
    key,
    *,
    hard: Literal["parity", "majority"] = "parity",
    method: Literal["adam", "sgd"] = "adam",
    easy_first=1.0,
    hard_first=1.0,
    bits=32,
    widths=(128, 64),
    batch=256,
    steps=3000,
    rate=1e-3,
    tests=4000,
):
    """`easy_first`, `hard_first`: weights of the two losses in the first half of the steps; then both are 1."""
    k_model, k_test, *k_train = jax.random.split(key, 4)
    sample = lambda key, n: multi_feature_bits(key, n, ("majority", hard), bits=bits)
    x_test, y_test = sample(k_test, tests)

    def record(model):
        return {
            "accuracy": jnp.mean((model(x_test) > 0) == y_test, 0),
            "share": feature_variance_share(model.features(x_test), y_test),
        }

    model = MLP([bits, *widths, 2], k_model)
    optimizer, state, course = {"adam": optax.adam, "sgd": optax.sgd}[method](rate), None, []
    for weights, key in zip(([easy_first, hard_first], [1.0, 1.0]), k_train, strict=True):

        def loss(model, batch, weights=weights):
            x, y = batch
            losses = jnp.mean(optax.sigmoid_binary_cross_entropy(model(x), y), 0)
            return jnp.array(weights) @ losses

        done = fit(
            loss,
            model,
            lambda key: sample(key, batch),
            optimizer,
            steps=steps // 2,
            key=key,
            every=EVERY,
            record=record,
            state=state,
        )
        model, state = done.params, done.state
        course.append(done.record)
    end = record(model)
    readout = jnp.linalg.norm(model.weights[-1], axis=0)
    return {
        "accuracy": end["accuracy"],
        "share": end["share"],
        "readout": readout,
        "accuracy_course": jnp.concatenate([c["accuracy"] for c in course]),
        "share_course": jnp.concatenate([c["share"] for c in course]),
    }


def ratio(arm):
    return arm.share.sel(feature="easy") / arm.share.sel(feature="hard")


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(2, 3, figsize=(12, 5.6), layout="constrained", sharex=True, sharey="row")
    titles = {
        "together": "Both from the start",
        "hard first": "Hard first",
        "easy twice": "Control: two easy features",
    }
    for (arm, title), (top, bottom) in zip(titles.items(), axes.T, strict=True):
        for ax, name in ((top, "accuracy_course"), (bottom, "share_course")):
            curves = arms[arm][name]
            steps = np.arange(curves.sizes["point"]) * EVERY
            for feature, colour in zip(FEATURES, ("C0", "C3"), strict=True):
                curve = curves.sel(feature=feature)
                label = {"easy": "majority of three bits", "hard": "parity of three bits"}[feature]
                if arm == "easy twice" and feature == "hard":
                    colour, label = "C9", "majority of three others"
                ax.plot(steps, curve.mean("seed"), color=colour, label=label)
                ax.fill_between(steps, curve.min("seed"), curve.max("seed"), color=colour, alpha=0.2, lw=0)
        top.set_title(title)
        bottom.set_xlabel("step")
        top.legend(frameon=False, fontsize=9, loc="center right")
    axes[0, 0].set(ylabel="accuracy", ylim=(0.45, 1.05))
    axes[1, 0].set(ylabel="share of the hidden variance", ylim=(0, None))
    return fig


study = Study(
    experiment,
    arms={
        "together": {},
        "hard first": {"easy_first": 0.0},
        "easy first": {"hard_first": 0.0},
        "easy twice": {"hard": "majority"},
        "descent": DESCENT,
        "descent, hard first": {**DESCENT, "easy_first": 0.0},
    },
    requires=[
        Check(
            "both-learned",
            "the lower of the two features' accuracies, the worst of all arms",
            lambda arms: np.min([a.accuracy.min("feature") for a in arms.values()], 0),
            at_least(0.99),
            basis="convention",
            because="the two play the same part in what the network computes",
        ),
    ],
    checks=[
        Check(
            "easy-dominates",
            "hidden variance explained by the easy feature over that explained by the hard one",
            lambda arms: ratio(arms["together"]),
            at_least(1.5),
            control={"together": "easy twice"},
            basis="convention",
            because="the paper reports large differences without a number for this network; 1 is no bias",
        ),
        Check(
            "order-matters",
            "the same ratio after learning the hard feature first, over that after learning both together",
            lambda arms: ratio(arms["hard first"]) / ratio(arms["together"]),
            at_most(0.8),
            control={"hard first": "easy first"},
            basis="convention",
            because="what is learned first keeps the room that it took",
        ),
    ],
    reports=[
        Report(
            "easy",
            "share of the easy feature, both together",
            lambda a: a["together"].share.sel(feature="easy"),
        ),
        Report(
            "hard",
            "share of the hard feature, both together",
            lambda a: a["together"].share.sel(feature="hard"),
        ),
        Report(
            "order-descent",
            "the order's effect as in order-matters, under plain gradient descent",
            lambda a: ratio(a["descent, hard first"]) / ratio(a["descent"]),
        ),
        Report(
            "readout",
            "readout weights' norm of the hard feature over that of the easy one",
            lambda a: a["together"].readout.sel(feature="hard") / a["together"].readout.sel(feature="easy"),
        ),
    ],
    dims={
        **dict.fromkeys(("accuracy", "share", "readout"), ("feature",)),
        **dict.fromkeys(("accuracy_course", "share_course"), ("point", "feature")),
    },
    coords={"feature": list(FEATURES)},
    full={"widths": (512, 256), "batch": 1024, "tests": 20_000},
    figure=figure,
)
