"""What learning algorithm is in-context learning? Investigations with linear models (2022).

Claim: a small softmax transformer trained on noisy linear regression, w ~ N(0, I), predicts like ridge regression with
the Bayes-optimal penalty, the noise's variance, and the penalty that fits it best follows the noise of training.
With one layer it is closer to one step of gradient descent than to ridge regression.
Control: the noise of training is exchanged; the shallow network gets three layers.
Scope: three layers of width 32 at most. The paper's proofs that a transformer can carry out these algorithms, and its
probing of late layers, are not here; nor is its noiseless case, least squares.
Squared errors are held against the Bayes risk with the response's noise in both.
Departures: a token is the last solved example and the next input, so that one layer can use an example at all: with
x and y in tokens of their own it takes another layer to bring them together. Penalties are read at dimension 2,
where so small a network comes near the Bayes risk; depth is compared at dimension 4, since at 2 one layer already
does better than one step of gradient descent. Training targets are w·x without noise, which moves the loss by a
constant; the responses in the prompt are noisy. The networks whose penalty is read train on 64 prompts a step: on 16
some stay too far from the Bayes risk for the penalty to mean much. Those of dimension 4 train on 32 and stay farther from
it, which is enough to compare depths; on 16, three layers varied so much from seed to seed that the control was undecided.
"""

import jax
import jax.numpy as jnp
import optax

from armillary.data import linear_regression_prompts
from armillary.lab import Check, Report, Study, at_least, at_most, between
from armillary.measure import (
    algorithm_match,
    gradient_descent,
    implicit_ridge_penalty,
    least_squares,
    one_step_optimum,
    ridge,
)
from armillary.nn import InContextRegressor
from armillary.train import fit

PENALTIES = [2 ** (k / 2) for k in range(-12, 13)]
REFERENCES = ("ridge", "one GD step", "least squares")


def experiment(
    key,
    *,
    noise=0.25,
    dim=2,
    length=5,
    layers=3,
    width=32,
    heads=4,
    expansion=1,
    prompts=64,
    steps=2000,
    rate=1e-2,
    tests=1000,
):
    """`noise`: its variance, which is also the Bayes-optimal penalty. Prompts have 0 to `length` examples."""
    k_model, k_train, k_test = jax.random.split(key, 3)
    model = InContextRegressor(
        k_model, dim=dim, length=length, layers=layers, width=width, heads=heads, expansion=expansion
    )

    def draw(key):
        return linear_regression_prompts(key, prompts, length + 1, jnp.ones(dim), noise=noise, queries=0)

    def loss(model, batch):
        clean = jnp.einsum("bnd,bd->bn", batch.x, batch.task)
        return jnp.mean((model.along(batch.x, batch.y) - clean) ** 2)

    schedule = optax.warmup_cosine_decay_schedule(0.0, 1.0, steps // 20, steps)
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(lambda t: rate * schedule(t), b2=0.98))
    model = fit(loss, model, draw, optimizer, steps=steps, key=k_train, every=steps).params

    test = linear_regression_prompts(k_test, tests, length, jnp.ones(dim), noise=noise, queries=2 * dim)
    # Prompts of 2 to `length` examples, filled up with zeros, and the input that follows them.
    x = jnp.concatenate([test.x, test.query[:, :1]], 1)
    y = jnp.pad(test.y, ((0, 0), (0, 1)))
    seen = jnp.tril(jnp.ones((length + 1, length + 1)), -1)[2:]
    flat = lambda a: a.reshape(-1, *a.shape[2:])
    found = implicit_ridge_penalty(
        flat(model.along(x, y)[:, 2:, None]),
        flat(x[:, None] * seen[..., None]),
        flat(y[:, None] * seen),
        flat(x[:, 2:, None]),
        jnp.array(PENALTIES),
    )
    step = length * one_step_optimum(jnp.ones(dim), length, noise=noise)[0, 0]
    references = [ridge(noise), gradient_descent(1, step), least_squares]
    match = algorithm_match(model, references, test.x, test.y, test.query, test.target)
    return {
        "best_penalty": found.penalty,
        "difference": found.difference,
        "excess": match.loss_ratio[0, 0] - 1,
        "match": match.prediction_difference[0],
        "weight_match": match.weight_difference[0],
    }


def excess(arm):
    return lambda arms: arms[arm].excess


def penalty_over(bayes, arm):
    return lambda arms: arms[arm].best_penalty / bayes


def unchanged_noise(arms):
    """The same ratio of two networks with seeds of their own, both trained at noise 0.25."""
    penalty = arms["quiet"].best_penalty
    return penalty.roll(seed=1) / penalty


def preference(match):
    return match.sel(reference="ridge") / match.sel(reference="one GD step")


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(10, 3.9), layout="constrained")
    for colour, arm, bayes in (("C0", "quiet", 0.25), ("C1", "noisy", 1.0)):
        run = arms[arm]
        curves = run.difference / run.difference.min("penalty")
        axes[0].plot(PENALTIES, curves.T, color=colour, lw=0.7, alpha=0.7)
        axes[0].plot([], [], color=colour, label=f"trained at noise {bayes:g}, a line a seed")
        axes[0].axvspan(bayes / 2, 2 * bayes, ymax=0.06, color=colour, alpha=0.3, lw=0)
        axes[0].plot(run.best_penalty, [1.0] * run.sizes["seed"], "v", color=colour, ms=5, alpha=0.7)
        axes[0].axvline(bayes, color=colour, ls="--", lw=0.8)
    axes[0].set(xscale="log", yscale="log", ylim=(0.8, 30), xlabel="penalty of the ridge regression")
    axes[0].set_ylabel("squared prediction difference over its least")
    axes[0].set_title("The network is ridge regression with the noise as its penalty")
    axes[0].legend(frameon=False, fontsize=8, loc="upper center")
    for arm, colour in (("shallow", "C2"), ("deep", "C3")):
        match = arms[arm].match
        axes[1].plot(REFERENCES, match.T, "o", color=colour, ms=5, alpha=0.5)
        axes[1].plot(REFERENCES, match.mean("seed"), "-", color=colour, label=arm)
    axes[1].set(yscale="log", ylabel="squared prediction difference from", xlim=(-0.4, 2.4))
    axes[1].set_title("Which reference is nearest depends on depth")
    axes[1].legend(frameon=False, fontsize=8)
    return fig


LARGER = {"dim": 4, "length": 8, "prompts": 32, "rate": 3e-3}

study = Study(
    experiment,
    arms={
        "quiet": {},
        "noisy": {"noise": 1.0},
        "shallow": {**LARGER, "layers": 1},
        "deep": LARGER,
    },
    requires=[
        Check(
            f"trained-{arm}",
            f"the squared error on full prompts is within 20% of the Bayes predictor's at noise {noise:g}",
            excess(arm),
            at_most(0.2),
            basis="convention",
            because="else the network has not learned the task, and the penalty that fits it says little",
        )
        for arm, noise in (("quiet", 0.25), ("noisy", 1.0))
    ],
    checks=[
        *(
            Check(
                f"bayes-penalty-{arm}",
                f"trained at noise {noise:g}, the best-fitting penalty is {noise:g}, within a factor of 2",
                penalty_over(noise, arm),
                between(0.5, 2.0),
                control={arm: other},
                because="the posterior mean has least risk; the other noise's penalty is a factor of 4 away",
            )
            for arm, other, noise in (("quiet", "noisy", 0.25), ("noisy", "quiet", 1.0))
        ),
        Check(
            "follows-noise",
            "four times the training noise at least doubles the best-fitting penalty",
            lambda arms: arms["noisy"].best_penalty / arms["quiet"].best_penalty,
            at_least(2.0),
            control=unchanged_noise,
            because="4 in theory; half of it on a logarithmic scale",
        ),
        Check(
            "depth-transition",
            "one layer's predictions are 1.5 times as far from ridge regression as from one gradient step",
            lambda arms: preference(arms["shallow"].match),
            at_least(1.5),
            control={"shallow": "deep"},
            basis="convention",
            because="the paper's transition has no number; 1 would be a tie",
        ),
    ],
    reports=[
        Report(
            "depth-weights",
            "the same ratio for one layer's implied weights",
            lambda arms: preference(arms["shallow"].weight_match),
        ),
        Report(
            "deep-over-shallow",
            "the deep network's difference from ridge regression over the shallow one's",
            lambda arms: (
                arms["deep"].match.sel(reference="ridge") / arms["shallow"].match.sel(reference="ridge")
            ),
        ),
    ],
    dims={"difference": ("penalty",), **dict.fromkeys(("match", "weight_match"), ("reference",))},
    coords={"penalty": PENALTIES, "reference": list(REFERENCES)},
    seeds=6,
    full={
        "dim": 8,
        "length": 16,
        "layers": 12,
        "width": 256,
        "heads": 8,
        "expansion": 4,
        "prompts": 64,
        "steps": 100_000,
        "rate": 3e-4,
        "arms": {"quiet": {}, "noisy": {"noise": 1.0}, "shallow": {"layers": 1}, "deep": {}},
    },
    figure=figure,
)
