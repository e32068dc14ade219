"""Statistical mechanics of continual learning: variational principle and mean-field potential (2022).

Claim: when a binary perceptron learns two teachers in turn, anchoring its distribution of weights to the one that the
first task left reduces forgetting. Its error on each task follows from its overlap with that teacher.
Control: a flat distribution in the place of the first task's, at the same strength.
Scope: one layer of 400 weights, teachers that agree on three weights of four, three examples a weight. The paper's
mean-field potential itself, and its multilayer networks, are not here; what one task can teach is held against the
replica-symmetric theory.
Departures: the paper gives a direction and no number. A pilot had ratios of 1.4 without and 1.0 with the flat distribution;
the bound lies between them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.losses import binary_divergence, binary_perceptron_loss
from armillary.measure import binary_perceptron_overlap
from armillary.train import fit

EVERY = 10


def experiment(
    key,
    *,
    weights=400,
    examples=1200,
    agreement=0.5,
    anchor=1.0,
    flat=0.0,
    correlation=0.0,
    steps=400,
    batch=200,
    rate=0.05,
    tests=20_000,
):
    """`agreement`: the teachers' overlap; `anchor`: weight of the divergence; `flat`: 1 for a prior that knows nothing."""
    k_teacher, k_flip, k_test, k_first, k_second = jax.random.split(key, 5)
    first = jax.random.rademacher(k_teacher, (weights,), float)
    # Exactly this share of the weights differs.
    second = first * jnp.where(jax.random.permutation(k_flip, weights) < weights * (1 - agreement) / 2, -1, 1)

    def inputs(key, count):
        """Gaussian, of variance 1, any two entries of an example with the same correlation."""
        own, shared = jax.random.split(key)
        alike = jax.random.normal(shared, (count, 1))
        x = jax.random.normal(own, (count, weights))
        return jnp.sqrt(1 - correlation) * x + jnp.sqrt(correlation) * alike

    def overlap(h, teacher):
        mean = jnp.tanh(h)
        return mean @ teacher / jnp.sqrt(weights * jnp.sum(mean**2) + 1e-12)

    angles = lambda h: jnp.arccos(jnp.stack([overlap(h, first), overlap(h, second)])) / jnp.pi
    x_test = inputs(k_test, tests)
    errors = lambda h: jnp.stack(
        [jnp.mean(jnp.sign(x_test @ jnp.tanh(h)) != jnp.sign(x_test @ t)) for t in (first, second)]
    )

    def learn(key, start, teacher, prior, strength):
        k_data, k_train = jax.random.split(key)
        x = inputs(k_data, examples)
        y = jnp.sign(x @ teacher)

        def loss(h, rows):
            kept = strength * binary_divergence(h, prior) / examples
            return binary_perceptron_loss(h, x[rows], y[rows]) + kept

        # A field of 4 is certain of its weight; beyond it, it could never turn.
        certain = optax.stateless(lambda update, h: jnp.clip(h + update, -4.0, 4.0) - h)
        optimizer = optax.chain(optax.adam(rate), certain)
        rows = lambda key: jax.random.randint(key, (batch,), 0, examples)
        return fit(loss, start, rows, optimizer, steps=steps, key=k_train, every=EVERY, record=angles)

    nothing = jnp.zeros(weights)
    one = learn(k_first, nothing, first, nothing, 1.0)
    two = learn(k_second, one.params, second, (1 - flat) * one.params, anchor)
    ends = (one.params, two.params)
    error = jnp.stack([errors(h) for h in ends])
    return {
        "error": error,
        "forgetting": error[1, 0] - error[0, 0],
        "overlap": jnp.array([[overlap(h, t) for t in (first, second)] for h in ends]),
        "arccos_error": jnp.max(abs(error - jnp.stack([angles(h) for h in ends]))),
        "course": jnp.concatenate([one.record, two.record]),
    }


ANCHORS = (0.6, 2.0, 5.0)


def forgetting_ratio(arms):
    return arms["free"].forgetting / arms["anchored"].forgetting


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4.1), layout="constrained")
    for name, style in (("free", ":"), ("anchored", "-")):
        course = arms[name].course
        steps = np.arange(course.sizes["point"]) * EVERY
        for task, colour in (("first", "C0"), ("second", "C1")):
            curve = course.sel(task=task)
            label = f"{task} task, {'anchored' if name == 'anchored' else 'not anchored'}"
            left.plot(steps, curve.mean("seed"), style, color=colour, lw=2, label=label)
            left.fill_between(steps, curve.min("seed"), curve.max("seed"), color=colour, alpha=0.2, lw=0)
    half = (steps[-1] + EVERY) / 2
    left.axvline(half, color="0.6", lw=1)
    left.text(half, 0.51, "  from here the second task", va="top", fontsize=9)
    left.set(
        xlabel="step", ylabel="error", ylim=(0, 0.52), title="Anchored, the first task is forgotten less"
    )
    left.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(0.0, 0.9))
    named = {"free": "0", **{f"anchor {a:g}": f"{a:g}" for a in ANCHORS}, "anchored": "1"}
    order = sorted(named, key=lambda name: float(named[name]))
    ends = [arms[name].error.sel(stage="after both") for name in order]
    points = np.array([[e.sel(task=t).mean("seed") for t in ("second", "first")] for e in ends])
    middle.plot(*points.T, "-", color="C0", lw=1)
    for name, end, at in zip(order, ends, points, strict=True):
        middle.plot(end.sel(task="second"), end.sel(task="first"), ".", color="C0", alpha=0.5)
        middle.annotate(named[name], at, xytext=(7, 3), textcoords="offset points")
    flat = arms["flat"].error.sel(stage="after both")
    middle.plot(flat.sel(task="second"), flat.sel(task="first"), "x", color="C3", label="flat prior")
    middle.plot([1 / 6], [1 / 6], "k*", ms=10, label="half-way between the teachers")
    middle.set(xlabel="error on the second task", ylabel="error on the first", title="Strength of the anchor")
    middle.legend(frameon=False, fontsize=9)
    r = np.linspace(-0.1, 1, 200)
    right.plot(r, np.arccos(r) / np.pi, "k-", lw=1, label="arccos(R)/π")
    for name, colour in (("anchored", "C0"), ("free", "C2"), ("correlated", "C3")):
        run = arms[name]
        label = "inputs correlated" if name == "correlated" else f"independent inputs, {name}"
        right.plot(run.overlap.values.ravel(), run.error.values.ravel(), ".", ms=8, color=colour, label=label)
    right.set(xlabel="overlap R with the teacher", ylabel="measured error", title="Error is an angle")
    right.legend(frameon=False, fontsize=9)
    return fig


study = Study(
    experiment,
    arms={
        "anchored": {},
        "free": {"anchor": 0.0},
        "flat": {"flat": 1.0},
        "correlated": {"correlation": 0.5},
        **{f"anchor {a:g}": {"anchor": a} for a in ANCHORS},
    },
    requires=[
        Check(
            "geometry",
            "largest difference of an error and arccos(R)/π, over both tasks, before and after the second",
            lambda arms: arms["anchored"].arccos_error,
            at_most(0.01),
            because="two halfspaces disagree on the angle between them; 20,000 tests have noise 0.003",
        ),
        Check(
            "second-learned",
            "error on the second task of the anchored perceptron",
            lambda arms: arms["anchored"].error.sel(stage="after both", task="second"),
            at_most(0.25),
            basis="pilot",
            because="one that learns nothing more forgets nothing; it errs on the second task on 0.33",
        ),
    ],
    checks=[
        Check(
            "remembers",
            "forgetting without the anchor over forgetting with it",
            forgetting_ratio,
            at_least(1.2),
            control={"anchored": "flat"},
            basis="pilot",
            because="between the teachers' angle, 60°/180° = 0.33, and the half-way direction, 30°/180° = 0.17: at best 2",
        ),
    ],
    reports=[
        Report(
            "forgetting", "error on the first task that the second adds", lambda a: a["anchored"].forgetting
        ),
        Report(
            "first",
            "error after the first task",
            lambda a: a["anchored"].error.sel(stage="after the first", task="first"),
        ),
        Report(
            "bayes",
            "the same, of the best learner in the limit of many weights",
            lambda arms: binary_perceptron_overlap(1200 / 400).error + 0 * arms["anchored"].forgetting,
        ),
    ],
    dims={"error": ("stage", "task"), "overlap": ("stage", "task"), "course": ("point", "task")},
    coords={"stage": ["after the first", "after both"], "task": ["first", "second"]},
    full={"weights": 4000, "examples": 12_000, "steps": 4000, "rate": 0.01, "tests": 100_000},
    pilot_seeds=range(8),
    figure=figure,
)
