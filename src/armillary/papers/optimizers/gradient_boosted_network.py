"""Sequential Training of Neural Networks with Gradient Boosting (2023).

Claim: a hidden layer grown five units at a time, each group fitted to what the network before it leaves over, is
within two points of the same network trained as a whole with the same work (units times epochs). Switching off the
three quarters of its units that were trained last costs at most one point.
Control: every group fits the first residuals, so that later ones cannot correct earlier ones. The units that were
trained first are switched off instead; and those of the jointly trained network, the most useful first.
Scope: 64-160-10 tanh networks on 1,000 of scikit-learn's digits, standardized; cross-entropy. The paper's search for
the size of the groups, its tests over many data sets and its deep trunks are not repeated.
Departures: 32 groups, so that a quarter is whole; one Newton step for the line search: where the classes are
separated, the factor that minimizes the loss has no end, and ten steps tested a point lower. Settled on seeds 100 to
103. A first run on seeds 0 to 15 left the distance from the network trained five times as long undecided (1.0 to 2.1
points, bound 2); there are now 32 seeds, and all of these are skipped. No bound was moved.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import digits, mnist, table
from armillary.lab import Check, Report, Study, at_most
from armillary.measure import accuracy, cross_entropy
from armillary.nn import MLP, norm_order, truncate_hidden
from armillary.train import boosted_part, fit, sgd_boost


def load(source: str) -> tuple[np.ndarray, np.ndarray]:
    if source == "digits":
        return digits()
    return mnist(14) if source == "mnist" else table(source)  # type: ignore[arg-type, return-value]


def experiment(
    key,
    data,
    *,
    method: Literal["boosted", "joint"] = "boosted",
    source: Literal["digits", "mnist", "breast_cancer", "wine"] = "digits",
    train=1000,
    classes=10,
    units=5,
    groups=32,
    epochs=200,
    shrinkage=0.5,
    searches=1,
    rate=0.03,
    joint_rate=0.01,
    refresh=1.0,
):
    k_order, k_net = jax.random.split(key)
    order = jax.random.permutation(k_order, len(data[0]))
    x, y = (a[order] for a in data)
    center, spread = x[:train].mean(0), x[:train].std(0)
    x = (x - center) / jnp.where(spread > 0, spread, 1.0)
    (x, x_test), (y, y_test) = jnp.split(x, [train]), jnp.split(y, [train])
    kept = jnp.arange(1, groups + 1)
    score = lambda part: accuracy(part(x_test), y_test)

    if method == "boosted":
        grown = sgd_boost(
            k_net,
            x,
            y,
            cross_entropy,
            out=classes,
            units=units,
            steps=groups,
            shrinkage=shrinkage,
            epochs=epochs,
            rate=rate,
            refresh=refresh,
            searches=searches,
        )
        keeping = lambda end: jax.vmap(lambda k: score(boosted_part(grown, k, end=end)))(kept)
        return {"in_order": keeping("first"), "reversed": keeping("last"), "loss": grown.loss}

    start = MLP((x.shape[1], units * groups, classes), k_net, activation=jnp.tanh)
    objective = lambda network, batch: cross_entropy(network(batch[0]), batch[1])
    network = fit(objective, start, (x, y), optax.adam(joint_rate), steps=epochs, every=epochs).params
    order, mean = norm_order(network), network.features(x).mean(0)

    def curve(order, mean):
        return jax.vmap(lambda k: score(truncate_hidden(network, k * units, order, mean=mean)))(kept)

    return {
        "in_order": jnp.maximum(curve(order, None), curve(order, mean)),  # in the control's favour
        "reversed": curve(order[::-1], mean),
        "loss": jnp.full(groups + 1, objective(network, (x, y))),
    }


def with_share(curve, share):
    return curve.isel(kept=int(share * curve.sizes["kept"]) - 1)


def gap(arms):
    return with_share(arms["joint"].in_order, 1) - with_share(arms["boosted"].in_order, 1)


def loss_of_units(arms):
    curve = arms["boosted"].in_order
    return with_share(curve, 1) - with_share(curve, 0.25)


def first_trained_off(arms):
    curve = arms["boosted"].reversed
    return with_share(curve, 1) - with_share(curve, 0.25)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained", width_ratios=[1.25, 1, 1])
    boosted = arms["boosted"]
    share = boosted.kept / boosted.sizes["kept"]
    lines = (
        (boosted.in_order, "C0", "-", "grown: last-trained off first"),
        (boosted.reversed, "C3", "--", "grown: first-trained off first (control)"),
        (arms["joint"].in_order, "C1", "--", "trained as a whole: best order (control)"),
    )
    for curve, colour, style, label in lines:
        axes[0].plot(share, curve.mean("seed"), style, color=colour, label=label)
        axes[0].fill_between(share, curve.min("seed"), curve.max("seed"), color=colour, alpha=0.15, lw=0)
    axes[0].axvline(0.25, color="k", lw=0.8, ls=":")
    axes[0].set(xlabel="share of the hidden units left on", ylabel="test accuracy", ylim=(0, 1))
    axes[0].set_title("Grown, a quarter of the units is enough")
    axes[0].legend(frameon=False, fontsize=8, loc="lower right")
    for arm, colour, label in (
        ("boosted", "C0", "fits what is left over"),
        ("frozen", "C3", "fits the first residuals (control)"),
    ):
        curve = arms[arm].loss
        axes[1].plot(curve.group, curve.mean("seed"), color=colour, label=label)
        axes[1].fill_between(
            curve.group, curve.min("seed"), curve.max("seed"), color=colour, alpha=0.15, lw=0
        )
    joint = float(arms["joint"].loss.mean())
    axes[1].axhline(joint, color="C1", lw=1, ls="--", label="trained as a whole")
    axes[1].set(yscale="log", xlabel="groups of units", ylabel="training loss, nats")
    axes[1].set_title("Every group fits what is left over")
    axes[1].legend(frameon=False, fontsize=8)
    whole = with_share(arms["joint"].in_order, 1)
    for row, (arm, colour) in enumerate((("boosted", "C0"), ("frozen", "C3"))):
        behind = 100 * (whole - with_share(arms[arm].in_order, 1))
        axes[2].plot(behind, np.full(len(behind), row), "o", color=colour, alpha=0.5)
        axes[2].plot([behind.mean()] * 2, [row - 0.2, row + 0.2], color=colour, lw=2)
    axes[2].axvline(2, color="k", lw=1)
    axes[2].text(2, -0.45, "bound ", ha="right", va="center", fontsize=8)
    axes[2].set(xlabel="points behind joint training, a dot a seed", ylim=(1.5, -0.6))
    axes[2].set_yticks([0, 1], ["grown", "first residuals\nonly (control)"])
    axes[2].set_title("A point behind joint training")
    return fig


study = Study(
    experiment,
    arms={
        "boosted": {},
        "frozen": {"refresh": 0.0},
        "joint": {"method": "joint"},
        "joint, longer": lambda s: {"method": "joint", "epochs": 5 * s["epochs"]},
        "joint, a quarter": lambda s: {
            "method": "joint",
            "groups": s["groups"] // 4,
            "epochs": 4 * s["epochs"],
        },
    },
    checks=[
        Check(
            "competitive",
            "trained as a whole, with the same work or five times it, the network is at most 2 points better",
            gap,
            at_most(0.02),
            control={"boosted": "frozen"},
            holds_under=[{"joint": "joint, longer"}],
            basis="pilot",
            because="the paper finds no significant difference; two standard errors on 797 images are 2 points",
        ),
        Check(
            "anytime",
            "with the last-trained three quarters of the units off it loses at most 1 point",
            loss_of_units,
            at_most(0.01),
            control=[first_trained_off, {"boosted": "joint"}],
            basis="pilot",
            because="'without a significant reduction'; a standard error of the test accuracy is 0.75 points",
        ),
    ],
    reports=[
        Report(
            "small-network",
            "test accuracy of a network of a quarter's size, trained as a whole with the same work, above that"
            " of the boosted network's first quarter",
            lambda arms: (
                with_share(arms["joint, a quarter"].in_order, 1) - with_share(arms["boosted"].in_order, 0.25)
            ),
        ),
        Report(
            "accuracy", "the boosted network's test accuracy", lambda a: with_share(a["boosted"].in_order, 1)
        ),
    ],
    dims={"in_order": ("kept",), "reversed": ("kept",), "loss": ("group",)},
    coords={"kept": lambda s: range(1, s["groups"] + 1), "group": lambda s: range(s["groups"] + 1)},
    data=load,
    seeds=32,
    pilot_seeds=(*range(16), *range(100, 104)),
    full={"source": "mnist", "train": 8000, "units": 10, "groups": 100},
    figure=figure,
)
