"""Transformers as Support Vector Machines (2023).

Claim: under normalized gradient descent the key-query matrix W of one softmax attention layer grows for ever, and its
direction becomes that of a hard-margin SVM that separates the token with the best score from the others of its input.
Training the factors of W = KQᵀ instead ends at as large a margin with a smaller nuclear norm and a larger Frobenius norm.
Control: the parametrizations are exchanged.
Scope: one layer, a fixed linear head. Both of the paper's settings of scores: those the head gives, and all tokens but
the best of an input alike, where every input must select its best token. The SVM is built for the tokens that the
trained matrix selects. Heads that are not linear, and how often descent finds the best tokens, are not here.
Departures: equal scores are given to the loss in place of the head's, as from a coordinate of the tokens that W does
not read.
"""

from typing import Literal

import jax
import jax.numpy as jnp
import optax

from armillary.data import unit_sphere
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import attention_svm, nuclear_norm, singular_values, token_margin
from armillary.nn import attention_average
from armillary.train import fit


def experiment(
    key,
    *,
    parametrization: Literal["matrix", "factors"] = "matrix",
    equal=0.0,
    inputs=3,
    tokens=4,
    dim=6,
    norm=300.0,
    steps=6000,
    every=50,
):
    """Training ends at ‖W‖ = `norm`. `equal`: all tokens but the best of an input have the same score."""
    k_x, k_head, k_label, k_start = jax.random.split(key, 4)
    x = unit_sphere(k_x, dim, inputs, tokens)
    query = x[:, 0]
    score = jax.random.rademacher(k_label, (inputs, 1)) * (x @ unit_sphere(k_head, dim))
    best = jnp.argmax(score, 1)
    is_best = jax.nn.one_hot(best, tokens)
    rest = jnp.sum(score * (1 - is_best), 1, keepdims=True) / (tokens - 1)
    score = jnp.where((equal > 0.5) & (is_best < 0.5), rest, score)

    matrix = (lambda w: w) if parametrization == "matrix" else (lambda factors: factors[0] @ factors[1].T)

    def loss(params, batch):
        x, query, score = batch
        logits = jnp.einsum("itd,de,ie->it", x, matrix(params), query)
        return jnp.mean(jax.nn.softplus(-attention_average(logits, score)))

    def normalized(params, batch):
        value, gradient = jax.value_and_grad(loss)(params, batch)
        going = jnp.linalg.norm(matrix(params)) < norm
        size = going / optax.tree.norm(gradient)
        return value, jax.tree.map(lambda g: size * g, gradient)

    factors = tuple(0.1 * jax.random.normal(k_start, (2, dim, dim)))
    start, rate = (jnp.zeros((dim, dim)), 0.05) if parametrization == "matrix" else (factors, 0.02)
    run = fit(
        loss,
        start,
        (x, query, score),
        optax.sgd(rate),
        steps=steps,
        every=every,
        gradient=normalized,
        record=matrix,
    )
    trained = matrix(run.params)
    found = token_margin(trained, x, query)
    svm = attention_svm(x, query, found.selected)
    low_rank = attention_svm(x, query, found.selected, norm="nuclear")
    unit = trained / found.margin.min()
    cosine = lambda w, to: (
        jnp.sum(w * to, (-2, -1)) / (jnp.linalg.norm(w, axis=(-2, -1)) * jnp.linalg.norm(to))
    )
    return {
        "direction": cosine(trained, svm.weights),
        "frobenius_excess": jnp.linalg.norm(unit) / svm.norm - 1,
        "nuclear_saving": 1 - nuclear_norm(unit) / nuclear_norm(svm.weights),
        "nuclear_excess": nuclear_norm(unit) / low_rank.norm - 1,
        "possible_saving": 1 - low_rank.norm / nuclear_norm(svm.weights),
        "selects_best": jnp.mean(found.selected == best),
        "gap": jnp.maximum(svm.gap, low_rank.gap),
        "size": jnp.linalg.norm(run.record, axis=(1, 2)),
        "to_frobenius": cosine(run.record, svm.weights),
        "to_nuclear": cosine(run.record, low_rank.weights),
        "singular": singular_values(unit),
        "singular_frobenius": singular_values(svm.weights),
        "singular_nuclear": singular_values(low_rank.weights),
    }


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12.5, 3.9), layout="constrained")
    for ax, norm, name in (
        (axes[0], "frobenius", "Frobenius"),
        (axes[1], "nuclear", "nuclear"),
    ):
        for arm, colour in (("matrix", "C0"), ("factors", "C3")):
            run = arms[arm]
            away = 1 - run[f"to_{norm}"]
            for size, one in zip(run["size"].values, away.values):
                ax.plot(size, one, color=colour, lw=0.6, alpha=0.5)
            ax.plot([], [], color=colour, label=f"{arm} trained, a line a seed")
        ax.set(xscale="log", yscale="log", xlim=(0.3, 320), ylim=(1e-5, 2))
        ax.set(xlabel="‖W‖ during training", ylabel="1 - cosine")
        ax.set_title(f"Towards the SVM of least {name} norm")
    axes[0].axhline(0.02, color="k", lw=0.8)
    axes[0].text(0.35, 0.015, "bound", va="top", fontsize=8)
    axes[0].legend(loc="lower left", fontsize=8)
    rank = range(1, 1 + arms["matrix"].sizes["rank"])
    for name, arm, colour, label in (
        ("singular_frobenius", "matrix", "k", "SVM, Frobenius"),
        ("singular_nuclear", "factors", "0.55", "SVM, nuclear"),
        ("singular", "matrix", "C0", "matrix trained"),
        ("singular", "factors", "C3", "factors trained"),
    ):
        style = "o" if name == "singular" else "_"
        values = arms[arm][name].mean("seed")
        axes[2].plot(rank, values, style, color=colour, ms=6 if style == "o" else 22, mew=1.5, label=label)
    axes[2].set(xlabel="index", ylabel="singular value at unit margin", ylim=(-0.05, None))
    axes[2].set_title("Factors need two directions, the matrix three")
    axes[2].legend(fontsize=8)
    return fig


BOTH_SCORES = {"matrix": "matrix, equal scores", "factors": "factors, equal scores"}

study = Study(
    experiment,
    arms={
        "matrix": {},
        "factors": {"parametrization": "factors"},
        "matrix, equal scores": {"equal": 1.0},
        "factors, equal scores": {"parametrization": "factors", "equal": 1.0},
    },
    requires=[
        Check(
            "solved",
            "the duality gaps of both SVMs",
            lambda arms: arms["factors"].gap,
            at_most(1e-3),
            because="a thirtieth of the smallest difference that is judged",
        ),
        Check(
            "global",
            "with equal scores every input selects its best token",
            lambda arms: arms["matrix, equal scores"].selects_best,
            at_least(1.0),
            because="the paper's theorem for that setting; else the run is not the theorem's",
        ),
    ],
    checks=[
        Check(
            "frobenius",
            "the matrix's cosine with the SVM of least Frobenius norm",
            lambda arms: arms["matrix"].direction,
            at_least(0.98),
            control={"matrix": "factors"},
            holds_under=[{"matrix": "matrix, equal scores"}],
            because="1 in the limit; at norm 300 the logits' differences still vary by about log(tokens)",
        ),
        Check(
            "margin",
            "the matrix's Frobenius norm at unit margin, over the SVM's, less 1",
            lambda arms: arms["matrix"].frobenius_excess,
            at_most(0.02),
            control={"matrix": "factors"},
            holds_under=[{"matrix": "matrix, equal scores"}],
            because="0 in the limit, for the norm that the theorem says is minimized",
        ),
        Check(
            "nuclear",
            "the factors' saving in nuclear norm at unit margin, against the SVM of least Frobenius norm",
            lambda arms: arms["factors"].nuclear_saving,
            at_least(0.03),
            control={"factors": "matrix"},
            holds_under=[{"factors": "factors, equal scores"}],
            basis="convention",
            because="theory says above 0; five other data sets had 0.07 to 0.17",
        ),
    ],
    reports=[
        Report(
            "nuclear-excess",
            "the factors' nuclear norm at unit margin over the least possible one, less 1",
            lambda arms: arms["factors"].nuclear_excess,
        ),
        Report(
            "possible-saving",
            "what the SVM of least nuclear norm saves",
            lambda arms: arms["factors"].possible_saving,
        ),
        Report(
            "selects-best",
            "share of inputs that select their best token, scores from the head",
            lambda arms: arms["matrix"].selects_best,
        ),
    ],
    dims={
        **dict.fromkeys(("size", "to_frobenius", "to_nuclear"), ("step",)),
        **dict.fromkeys(("singular", "singular_frobenius", "singular_nuclear"), ("rank",)),
    },
    coords={"step": lambda s: range(0, s["steps"], s["every"])},
    full={"inputs": 10, "tokens": 20, "dim": 40, "seeds": 100},
    seeds=32,
    x64=True,
    figure=figure,
)
