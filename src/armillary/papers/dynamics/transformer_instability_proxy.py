"""Small-scale proxies for large-scale Transformer training instabilities (2023).

Claim: at high learning rates a small transformer shows what breaks large ones: attention logits that grow without
bound, and a loss penalty. Normalizing queries and keys (qk-layernorm) bounds the logits and cuts the sensitivity of
the loss to the learning rate, at no cost to the best loss.
Control: normalize queries and keys by half only, which lets the logits grow; for the growth itself, freeze the query
and key weights at their start.
Scope: two layers of width 32 on the characters of Python's standard library, 300 steps; C4, models of 10M to 1B
parameters and 10⁵ steps are not here. That the loss suffers because of the logits is not shown at this size:
normalizing the values instead (reported) leaves the logits at ten thousand and cuts the loss penalty as much.
Output-logit drift and the z-loss come late in training and are reported only.
Departures: twelve seeds instead of four: eight from 1000 on left less-sensitive undecided (0.24 to 0.54). To pay for
them, arms that need no more have the outermost rates only. Final losses are taken on held-out text. The
sensitivity's control was once the plain network over itself, which is 1 whatever happens; the half normalization was
chosen in its place after a look at seeds 100 to 103, which are skipped. No bound was moved.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import SYMBOLS, library_text
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.losses import z_loss
from armillary.measure import cross_entropy, largest_logit, log_z_drift, power_law
from armillary.nn import Transformer
from armillary.train import fit, lr_sensitivity

RATES = [1e-2, 3e-2, 1e-1, 3e-1]
ENDS, HIGHEST = [RATES[0], RATES[-1]], RATES[-1:]


def load(characters: int) -> np.ndarray:
    return library_text(characters)


def freeze(share):
    """An optimizer's last link: the query and key weights take 1 - share of their steps."""

    def scale(updates, params):
        return eqx.tree_at(
            lambda u: (u.blocks.query, u.blocks.key), updates, replace_fn=lambda u: (1 - share) * u
        )

    return optax.stateless(scale)


def experiment(
    key,
    data,
    *,
    rate=RATES,
    qk_norm=0.0,
    v_norm=0.0,
    frozen=0.0,
    z_weight=0.0,
    characters=400_000,
    layers=2,
    width=32,
    heads=2,
    context=32,
    batch=8,
    steps=300,
    every=10,
):
    k_model, k_batch, k_test = jax.random.split(key, 3)
    model = Transformer(
        k_model, vocabulary=len(SYMBOLS), context=context, layers=layers, width=width, heads=heads
    )
    held_out = len(data) // 10

    def draw(key, count, first, last):
        start = jax.random.randint(key, (count, 1), first, last - context)
        return data[start + jnp.arange(context + 1)]

    def train_batch(key):
        return draw(key, batch, held_out, len(data))

    def loss(model, tokens):
        logits = model(tokens[:, :-1], qk_norm=qk_norm, v_norm=v_norm)
        return cross_entropy(logits, tokens[:, 1:]) + z_loss(logits, z_weight)

    test = draw(k_test, 64, 0, held_out)

    def examine(model, tokens):
        hooks = {"attention_logits": largest_logit}
        logits, kept = model(tokens[:, :-1], qk_norm=qk_norm, v_norm=v_norm, hooks=hooks)
        return cross_entropy(logits, tokens[:, 1:]), kept["attention_logits"].max(), log_z_drift(logits)

    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, steps // 10, steps)
    optimizer = optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(lambda step: rate * schedule(step), 0.9, 0.95),
        freeze(frozen),
    )
    record = lambda model: examine(model, test[:batch])[1]
    run = fit(loss, model, train_batch, optimizer, steps=steps, key=k_batch, every=every, record=record)
    final, logit, drift = examine(run.params, test)
    largest = jnp.maximum(run.record.max(), logit)
    return {
        "loss": final,
        "start": examine(model, test)[0],
        "logit": largest,
        "logit_cap": largest / (width // heads) ** 0.5,
        "drift": drift,
        "logit_curve": run.record,
        "loss_curve": run.loss,
    }


def sensitivity(run):
    """Over the rates, a number a seed: nats per character."""
    return np.asarray(lr_sensitivity(run.loss.values, run.start.values[:, 0]))


def growth(arms):
    run = arms["plain"]
    return np.asarray(power_law(run.rate.values, run.logit.values).slope)


def penalty(arms, name):
    """At the highest rate, what the loss is above plain's best, as a share of what plain's is."""
    best = arms["plain"].loss.min("rate")
    return (arms[name].loss.isel(rate=-1) - best) / (arms["plain"].loss.isel(rate=-1) - best)


def relative_sensitivity(arms):
    return sensitivity(arms["qk-layernorm"]) / sensitivity(arms["plain"])


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
    labels = {
        "plain": ("C1", "plain"),
        "qk-layernorm": ("C0", "qk-layernorm"),
        "half normalized": ("C3", "half normalized (control)"),
        "frozen": ("C2", "queries and keys frozen (control)"),
        "values normalized": ("0.5", "values normalized instead"),
    }
    best = arms["plain"].loss.min("rate")
    for arm, (colour, label) in labels.items():
        run, style = arms[arm], ":" if colour == "0.5" else "-"
        for ax, values in ((axes[0], run.loss - best), (axes[1], run.logit)):
            ax.plot(values.rate, values.mean("seed"), "o" + style, ms=4, color=colour, label=label)
            ax.fill_between(values.rate, values.min("seed"), values.max("seed"), color=colour, alpha=0.15)
    for ax in axes:
        ax.set(xscale="log", xlabel="learning rate")
    root = float((run.logit / run.logit_cap).mean())
    axes[0].set(ylabel="held-out loss above plain's best, nats", title="The basin is flatter …")
    axes[1].set(yscale="log", ylabel="largest attention logit in training", ylim=(root / 2, None))
    axes[1].set_title("… where the logits are bounded")
    axes[1].axhline(root, color="k", lw=0.8, ls="--")
    axes[1].text(float(run.rate[-1]), 0.9 * root, "root of the head width", fontsize=8, ha="right", va="top")
    axes[0].legend()
    return fig


study = Study(
    experiment,
    arms={
        "plain": {},
        "qk-layernorm": {"qk_norm": 1.0},
        "half normalized": {"qk_norm": 0.5},
        "values normalized": {"v_norm": 1.0, "rate": HIGHEST},
        "frozen": {"frozen": 1.0, "rate": ENDS},
        "z-loss": {"qk_norm": 1.0, "z_weight": 1e-4, "rate": HIGHEST},
    },
    requires=[
        Check(
            "cap-holds",
            "with qk-layernorm no attention logit exceeds the root of the head width",
            lambda arms: arms["qk-layernorm"].logit_cap.max("rate"),
            at_most(1.05),
            because="|q·k|/√K ≤ √K for vectors of length √K (Cauchy-Schwarz): else the layer is built wrongly",
        ),
        Check(
            "no-cost",
            "the best loss with and without qk-layernorm differs by at most 0.1 nats",
            lambda arms: abs(arms["qk-layernorm"].loss.min("rate") - arms["plain"].loss.min("rate")),
            at_most(0.1),
            because="otherwise the flatter curve is bought with a worse best loss",
        ),
    ],
    checks=[
        Check(
            "logits-grow",
            "without normalization the largest attention logit grows at least linearly in the learning rate",
            growth,
            at_least(1.0),
            control={"plain": "frozen"},
            because="queries and keys each scale with Adam's step, so their product grows at least linearly",
        ),
        Check(
            "less-sensitive",
            "qk-layernorm at least halves the sensitivity of the loss to the learning rate",
            relative_sensitivity,
            at_most(0.5),
            control={"qk-layernorm": "half normalized"},
            basis="paper",
            because="the paper's mitigation; what is left of the sensitivity is not attention's",
        ),
    ],
    reports=[
        Report(
            "values-normalized",
            "loss penalty at the highest rate with the values normalized, and the logits not, over plain's",
            lambda arms: penalty(arms, "values normalized"),
        ),
        Report(
            "their-logits",
            "its largest attention logit at the highest rate",
            lambda arms: arms["values normalized"].logit.isel(rate=-1),
        ),
        Report(
            "qk-layernorm-penalty",
            "the same with qk-layernorm",
            lambda arms: penalty(arms, "qk-layernorm"),
        ),
        Report(
            "frozen-penalty",
            "the same with queries and keys frozen",
            lambda arms: penalty(arms, "frozen"),
        ),
        Report(
            "z-drift",
            "|mean log Z| at the highest rate with the z-loss, over without",
            lambda arms: arms["z-loss"].drift.isel(rate=-1) / arms["qk-layernorm"].drift.isel(rate=-1),
        ),
    ],
    dims={"logit_curve": ("point",), "loss_curve": ("point",)},
    coords={"point": lambda s: range(0, s["steps"], s["every"])},
    data=load,
    seeds=12,
    pilot_seeds=range(100, 104),
    full={
        "width": 256,
        "layers": 6,
        "heads": 4,
        "context": 256,
        "batch": 32,
        "steps": 20_000,
        "every": 200,
        "characters": 4_000_000,
        "rate": [1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1],
    },
    figure=figure,
)
