"""On the Provable Advantage of Unsupervised Pretraining (2023).

Claim: in a linear factor model, maximum-likelihood pretraining on plentiful unlabelled data reduces the need for labels
from the dimension of the inputs to the number of factors. The remaining error vanishes as unlabelled data grow.
Control: the label depends on a direction outside the factors; for the remaining error, one factor too few is fitted.
Scope: five factors in 100 dimensions, 20 to 160 labels, up to 10,000 unlabelled inputs; excess risks are exact, given the
fit. Digits with 40 labels stand beside it as reports: no factor model made them, and ridge regression on the pixels, its
penalty chosen by the test error, does better than ten factors. The paper's mixtures and contrastive models are not here.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import digits
from armillary.lab import Check, Report, Study, at_least, between
from armillary.measure.eigen import eigh, solve_positive
from armillary.represent import FactorModel, pretrain_factor_model

PENALTIES = np.geomspace(0.1, 1e4, 16).tolist()
LABELS = (20, 40, 80, 160)


def experiment(
    key,
    data,
    *,
    inputs=100,
    true_factors=5,
    factors=5,
    strength=5.0,
    noise=0.25,
    outside=0.0,
    unlabelled=(100, 300, 1000, 3000, 10_000),
    labels=LABELS,
    pretrainings=8,
    repeats=25,
    images=40,
):
    """`strength`: variance of a factor in the inputs, over the noise's; `outside`: 1 if no factor tells of the label."""
    k_task, k_runs, k_digits = jax.random.split(key, 3)
    # Gaussian noise, ridge regression and the fit do not see a rotation: the factors may lie along the first axes.
    loadings = jnp.sqrt(strength) * jnp.eye(inputs, true_factors)
    variances = 1 + jnp.sum(loadings**2, 1)
    truth = FactorModel(jnp.zeros(inputs), loadings, jnp.array(1.0))
    taste = jax.random.normal(k_task, (true_factors,))
    taste = taste / jnp.linalg.norm(taste)
    hidden = 1 / (1 + strength)  # what of the label's signal no input tells
    irreducible = noise + hidden
    best = (1 - outside) * taste @ truth.readout
    best = best.at[true_factors].set(outside * jnp.sqrt(1 - hidden))

    def draw(key, count):
        """Inputs and labels; the labels' signal and noise are as large outside the factors as in them."""
        k_z, k_x, k_y = jax.random.split(key, 3)
        z = jax.random.normal(k_z, (count, true_factors))
        x = z @ loadings.T + jax.random.normal(k_x, (count, inputs))
        e = jax.random.normal(k_y, (count,))
        within = z @ taste + jnp.sqrt(noise) * e
        return x, jnp.where(outside > 0, x @ best + jnp.sqrt(irreducible) * e, within)

    def excess(coefficients, mean=0.0):
        """Of x ↦ coefficients · (x − mean), above the best predictor that there is."""
        return jnp.sum(variances * (coefficients - best) ** 2) + jnp.sum(coefficients * mean) ** 2

    def downstream(model, x, y):
        h = model(x)
        return excess(solve_positive(h.T @ h, (h.T @ y)[:, None])[:, 0] @ model.readout, model.mean)

    def ridge(x, y):
        """With the best of the penalties, chosen by the true risk: more than a baseline could know."""
        values, vectors = eigh(x.T @ x)
        fits = vectors @ ((vectors.T @ (x.T @ y))[:, None] / (values[:, None] + jnp.array(PENALTIES)))
        return jnp.min(jax.vmap(excess, 1)(fits))

    def pretrained(key):
        k_x, k_y = jax.random.split(key)
        x, _ = draw(k_x, max(unlabelled))
        models = [pretrain_factor_model(x[:m], factors) for m in unlabelled]

        def labelled(key):
            x, y = draw(key, max(labels))
            return jnp.array(
                [
                    [f(x[:n], y[:n]) for n in labels]
                    for f in [*(lambda x, y, m=m: downstream(m, x, y) for m in [*models, truth]), ridge]
                ]
            )

        return jnp.mean(jax.lax.map(labelled, jax.random.split(k_y, repeats)), 0)

    risk = jnp.mean(jax.lax.map(pretrained, jax.random.split(k_runs, pretrainings)), 0)
    return {
        "excess": risk[:-2],
        "known": risk[-2],
        "ridge": risk[-1],
        "normalized": risk[:-2] * jnp.array(labels) / (true_factors * irreducible),
        "digits": digit_errors(k_digits, *data, images=images, repeats=repeats),
    }


def digit_errors(key, x, y, *, images, repeats, factors=10, train=1400):
    """Least squares on factors of all training images, and ridge regression on the pixels, from few labels."""
    order = jax.random.permutation(key, len(x))
    x, hot = x[order], jax.nn.one_hot(y[order], 10)
    encoder = pretrain_factor_model(x[:train], factors)
    centred = x - encoder.mean

    def error(features, rows, penalty):
        h = jnp.append(features, jnp.ones((len(features), 1)), 1)
        gram = h[rows].T @ h[rows] + penalty * jnp.eye(h.shape[1])
        said = h[train:] @ solve_positive(gram, h[rows].T @ hot[rows])
        return jnp.mean(jnp.argmax(said, 1) != jnp.argmax(hot[train:], 1))

    def once(key):
        rows = jax.random.choice(key, train, (images,), replace=False)
        ridge = jax.lax.map(lambda p: error(centred, rows, p), jnp.array(PENALTIES))
        return jnp.array([error(encoder(x), rows, 1e-3), jnp.min(ridge)])

    return jnp.mean(jax.lax.map(once, jax.random.split(key, repeats)), 0)


def rate(arms):
    return arms["factors"].normalized.isel(unlabelled=-1, labels=slice(1, None)).mean("labels")


def advantage(arms):
    run = arms["factors"].isel(labels=-1)
    return run.ridge / run.excess.isel(unlabelled=-1)


def remaining(arm):
    return (arm.excess - arm.known).isel(labels=-1)


def unlabelled_rate(arms):
    left = np.log(remaining(arms["factors"]).isel(unlabelled=slice(1, None)))
    return np.polyfit(np.log(left.unlabelled), left.transpose("unlabelled", "seed"), 1)[0]


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    run = arms["factors"]
    n = run["labels"].values
    for i, m in enumerate(run.unlabelled.values[1:]):
        left.plot(
            n,
            run.excess.sel(unlabelled=m).mean("seed"),
            "o-",
            color=plt.cm.Blues(0.4 + 0.2 * i),
            label=f"pretrained on {m:,}",
        )
    left.plot(n, run.ridge.mean("seed"), "s-", color="C3", label="best ridge regression, no pretraining")
    left.plot(n, 5 * 0.417 / n, "k:", lw=1.5, label="factors · σ² / labels")
    left.plot(n, 100 * 0.417 / n, "k--", lw=1, label="inputs · σ² / labels")
    left.set(
        xscale="log",
        yscale="log",
        xlabel="labels",
        ylabel="excess risk",
        title="Labels are needed for the factors alone",
    )
    left.set_xticks(n, [str(i) for i in n])
    left.minorticks_off()
    left.legend(frameon=False, fontsize=8)
    m = run.unlabelled.values
    for name, colour in (("factors", "C0"), ("one too few", "C3")):
        values = remaining(arms[name]).transpose("unlabelled", "seed")
        right.plot(m, values, color=colour, lw=0.8, alpha=0.6)
        right.plot(
            m,
            values.mean("seed"),
            "o-",
            color=colour,
            label="five factors fitted" if name == "factors" else "four fitted",
        )
    at = float(remaining(run).isel(unlabelled=2).mean())
    right.plot(m, at * m[2] / m, "k:", lw=1.5, label="1 / unlabelled")
    right.set(
        xscale="log", yscale="log", xlabel="unlabelled inputs", ylabel="excess over that of the known factors"
    )
    right.set_title("… and unlabelled data pay off the rest")
    right.legend(frameon=False, fontsize=9)
    return fig


study = Study(
    experiment,
    data=digits,
    arms={"factors": {}, "outside": {"outside": 1.0}, "one too few": {"factors": 4}},
    checks=[
        Check(
            "rate-r-over-n",
            "excess risk times labels over factors and σ², 10,000 unlabelled, mean of 40, 80 and 160 labels",
            rate,
            between(0.7, 1.6),
            control={"factors": "outside"},
            because="least squares on r features: n/(n − r − 1), 1.04 to 1.18 here, and a little for the factors' own error",
        ),
        Check(
            "advantage",
            "excess risk of the best ridge regression over that after pretraining, 160 labels",
            advantage,
            at_least(3.0),
            control={"factors": "outside"},
            because="inputs over factors is 20; a well-chosen penalty recovers part of it",
        ),
        Check(
            "unlabelled-rate",
            "power of the unlabelled inputs, from 300 on, in the excess over that of the known factors",
            unlabelled_rate,
            between(-1.3, -0.5),
            control={"factors": "one too few"},
            because="1/m for a regular model, the root of it in the general bound",
        ),
    ],
    reports=[
        Report(
            "few-unlabelled",
            "the advantage after pretraining on 100 alone",
            lambda a: (a["factors"].ridge / a["factors"].excess.isel(unlabelled=0)).isel(labels=-1),
        ),
        Report(
            "digits",
            "error with 40 labelled digits: ten factors of 1,400 images",
            lambda a: a["factors"].digits.sel(learner="pretrained"),
        ),
        Report(
            "digits-ridge",
            "the same of the best ridge regression on the pixels",
            lambda a: a["factors"].digits.sel(learner="ridge"),
        ),
    ],
    dims={
        "excess": ("unlabelled", "labels"),
        "normalized": ("unlabelled", "labels"),
        "known": ("labels",),
        "ridge": ("labels",),
        "digits": ("learner",),
    },
    coords={
        "unlabelled": lambda s: s["unlabelled"],
        "labels": lambda s: s["labels"],
        "learner": ["pretrained", "ridge"],
    },
    full={
        "inputs": 1000,
        "true_factors": 20,
        "factors": 20,
        "unlabelled": (1000, 3000, 10_000, 30_000, 100_000),
        "labels": (80, 160, 320, 640, 1600),
    },
    figure=figure,
)
