"""Investigating the Impact of Model Complexity in Large Language Models (2024).

Claim: where text comes from a hidden Markov model and a linear head is fitted by least squares to p features of a model
of it, the test risk rises from the empty model to a peak where features equal labelled samples and falls beyond: a double
descent without its first descent. With isotropic features it follows a closed form.
Control: the head is fitted with the Bayes-optimal ridge penalty instead.
Scope: complexity is the number of features that the head may use, not the size of a trained model: the features are those
of an ideal language model, the exact belief about the hidden state, whitened. The first descent is missing because the
signal is spread evenly over more features than there are samples, whatever its strength: in the closed form the first
feature then buys less bias than it costs in variance. With a strong signal in few features it is there (reported).
Departures: features are random directions of the whitened beliefs. Medians over fits stand for the risk near the peak,
where its mean is infinite.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import hidden_markov
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import head_tuning_risk, isotropic_double_descent
from armillary.nn import orthogonal
from armillary.represent import whiten


def experiment(
    key,
    *,
    signal=0.2,
    noise=1.0,
    decay=0.0,
    ridge=0.0,
    features=200,
    symbols=30,
    length=12,
    sequences=700,
    labelled=40,
    sizes=(0, 5, 10, 20, 30, 36, 44, 60, 100, 200),
    fits=60,
):
    """`signal` and `noise` are variances; a feature has exp(-`decay`) times the signal of the one before it.

    `ridge`: the penalty over the Bayes-optimal one for a signal that is spread evenly.
    """
    k_model, k_text, k_features, k_fits = jax.random.split(key, 4)
    model = hidden_markov(k_model, features + 1, symbols)  # probabilities sum to 1: a direction less
    text = jax.vmap(lambda k: model.sample(k, length))(jax.random.split(k_text, sequences))
    beliefs = jax.vmap(model.belief)(text)
    x = whiten(beliefs, features) @ orthogonal(k_features, features, features)
    share = jax.nn.softmax(-decay * jnp.arange(features))
    # A weight has prior variance signal/features; the features that are left out add to the noise.
    left_out = signal * (1 - jnp.array(sizes) / features)
    penalties = ridge * (noise + left_out) * features / signal

    def fit(key):
        k_order, k_head, k_noise = jax.random.split(key, 3)
        order = jax.random.permutation(k_order, sequences)
        known, rest = x[order[:labelled]], x[order[labelled:]]
        head = jnp.sqrt(signal * share) * jax.random.normal(k_head, (features,))
        y = known @ head + jnp.sqrt(noise) * jax.random.normal(k_noise, (labelled,))
        return head_tuning_risk(known, y, rest, rest @ head, sizes, penalties=penalties)

    excess = jax.lax.map(fit, jax.random.split(k_fits, fits))
    return {
        "median_excess": jnp.median(excess, 0),
        "mean_excess": jnp.mean(excess, 0),
        "theory": isotropic_double_descent(sizes, labelled, features, signal, noise) - noise,
    }


ERROR_SIZES = (5, 10, 20, 30, 60, 100, 200)


def before_the_peak(run):
    return run.median_excess.isel(used=slice(0, 6))


def rise(arms):
    from scipy.stats import spearmanr

    return [spearmanr(range(6), curve).statistic for curve in before_the_peak(arms["least squares"]).values]


def descent(arms):
    median = arms["least squares"].median_excess
    return median.sel(used=44) / median.sel(used=200)


def theory_error(arms):
    run = arms["least squares"].sel(used=list(ERROR_SIZES))
    return abs(np.log((run.mean_excess + 1) / (run.theory + 1))).mean("used")


def gain(median):
    return median.sel(used=10) / median.sel(used=0)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
    p = np.arange(201)
    theory = np.array(isotropic_double_descent(p.tolist(), 40, 200, 0.2, 1.0)) - 1
    axes[0].plot(p, np.where(np.isfinite(theory), theory, np.nan), "k-", lw=1, label="closed form")
    for ax, arm, colour, label in (
        (axes[0], "least squares", "C0", "least squares"),
        (axes[0], "ridge", "C3", "control: Bayes-optimal ridge"),
        (axes[1], "few features", "C2", "least squares, signal of 5"),
    ):
        mean = arms[arm].mean_excess
        ax.plot(mean.used, mean.T, "o", color=colour, ms=3, alpha=0.35)
        ax.plot(mean.used, mean.mean("seed"), "o--", color=colour, ms=6, lw=0.8, label=label)
    for ax, signal in zip(axes, (0.2, 5.0)):
        ax.set(yscale="log", xlabel="features p of 200 that the head may use", ylabel="test risk - noise")
        ax.axvline(40, color="0.6", ls=":")
        ax.text(42, ax.get_ylim()[1], "as many as samples", va="top", fontsize=8, color="0.4")
        ax.axhline(signal, color="0.6", lw=0.6)
        ax.text(200, signal, "empty model", ha="right", va="bottom", fontsize=8, color="0.4")
        ax.legend(fontsize=8, loc=(0.5, 0.72))
    axes[0].set_title("Signal spread evenly: no first descent")
    axes[1].set_title("Signal in few features: it is there")
    return fig


study = Study(
    experiment,
    arms={"least squares": {}, "ridge": {"ridge": 1.0}, "few features": {"signal": 5.0, "decay": 0.3}},
    checks=[
        Check(
            "degenerate-first-descent",
            "Spearman correlation of the median risk with the number of features, from none to 36",
            rise,
            at_least(0.99),
            control={"least squares": "ridge"},
            because="the closed form increases strictly there: a feature buys a thousandth of bias for a fortieth of"
            " the noise",
        ),
        Check(
            "second-descent",
            "the median risk at 44 features over that at 200",
            descent,
            at_least(5),
            control={"least squares": "ridge"},
            because="24 in the closed form of the mean, which is above the median near the peak",
        ),
        Check(
            "closed-form",
            "mean |ln(risk) - ln(closed form)| at 5 to 200 features, away from the peak",
            theory_error,
            at_most(0.1),
            control={"least squares": "ridge"},
            because="0 for Gaussian features; a tenth is room for features that are not, and for 60 fits",
        ),
    ],
    reports=[
        Report(
            "first-descent",
            "signal of 5 in few features: the median risk with 10 of them over the empty model's",
            lambda arms: gain(arms["few features"].median_excess),
        ),
    ],
    dims=dict.fromkeys(("median_excess", "mean_excess", "theory"), ("used",)),
    coords={"used": lambda s: s["sizes"]},
    full={"sequences": 7000, "fits": 1000, "symbols": 100, "length": 30},
    x64=True,
    figure=figure,
)
