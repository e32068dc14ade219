"""High-dimensional dynamics of generalization error in neural networks (2017).

Claim: the test error of a linear student of a noisy linear teacher follows the Marchenko-Pastur prediction throughout
training. The penalty for training too long peaks where there are as many examples as parameters; with fewer, large
initial weights leave an error that no training removes.
Control: correlated inputs, for the prediction; noiseless labels, for the penalty; four examples per parameter instead
of a quarter, for the initial weights.
Scope: 100 inputs and averages over 64 students, against a theory for infinitely many. Nonlinear students and the bounds
on their complexity are not here.
Departures: the learning rate is 0.01 of the largest stable scale instead of 0.1, since the theory is for gradient
flow; steps are taken as powers, so they cost nothing. A seed averages 4 teachers, starts and noises on each of 16 draws of
100 inputs, instead of one on each of 32 draws of 200: the teacher's norm is what fluctuates most.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import linear_generalization_curve
from armillary.train import linear_descent

NOISE, START = (0.2, 0.0), (0.0, 1.0)


def experiment(
    key,
    *,
    alpha=[0.25, 0.5, 1.0, 2.0, 4.0],  # noqa: B006
    inputs=100,
    most_examples=400,
    decay=0.0,
    rate=0.01,
    end=500.0,
    draws=16,
    teachers=4,
    points=30,
):
    """`alpha` is examples per input; `decay` makes the inputs' variances proportional to i^-decay."""
    variance = jnp.arange(1.0, inputs + 1) ** -decay
    variance = variance * inputs / variance.sum()
    examples = jnp.round(alpha * inputs)
    present = (jnp.arange(most_examples) < examples)[:, None]
    eta = rate / (1 + alpha**-0.5) ** 2
    steps = jnp.round(jnp.geomspace(0.05, end, points) / eta)
    noise, start = jnp.array(NOISE)[:, None, None], jnp.array(START)[:, None]

    def draw(key):
        """Test error along descent, for each noise and start, on one draw of inputs and several of all else."""
        k_x, k_teacher, k_start, k_noise = jax.random.split(key, 4)
        x = jnp.where(present, jax.random.normal(k_x, (most_examples, inputs)) * jnp.sqrt(variance), 0)
        teacher, first = (jax.random.normal(k, (inputs, 1, 1, teachers)) for k in (k_teacher, k_start))
        teacher, first = teacher / inputs**0.5, first * jnp.sqrt(start / inputs)
        disturbance = jax.random.normal(k_noise, (most_examples, 1, 1, teachers)) * present[..., None, None]
        y = jnp.tensordot(x, teacher, 1) + jnp.sqrt(noise) * disturbance
        full = jnp.broadcast_shapes(y.shape[1:], first.shape[1:])
        columns = lambda a: jnp.broadcast_to(a, (len(a), *full)).reshape(len(a), -1)
        weights = linear_descent(x, columns(y), columns(first), eta, steps, examples=examples)
        error = jnp.einsum("tik,i->tk", (weights - columns(teacher)) ** 2, variance)
        return jnp.moveaxis(error.reshape(points, *full).mean(-1), 0, -1) + noise

    curve = lambda noise, start: linear_generalization_curve(steps * eta, alpha, noise=noise, start=start)
    return {
        "error": jax.lax.map(draw, jax.random.split(key, draws)).mean(0),
        "theory": jnp.stack([jnp.stack([curve(n, s) for s in START]) for n in NOISE]),
        "clock": steps * eta,
    }


def theory_error(arms):
    run = arms["white inputs"].sel(alpha=[0.5, 2.0], noise=0.2)
    return (abs(run.error - run.theory) / run.theory).max(("alpha", "start", "time"))


def overtraining(curve):
    """How much higher the error ends than it was at best, as a share of the best."""
    return curve.isel(time=-1) / curve.min("time") - 1


def peak_ratio(arms, noise=0.2):
    found = overtraining(arms["white inputs"].error.sel(noise=noise, start=0.0)) + 0.01
    return found.sel(alpha=1.0) / found.sel(alpha=[0.25, 4.0]).max("alpha")


def noiseless_peak_ratio(arms):
    return peak_ratio(arms, noise=0.0)


def start_ratio(arms, alpha=0.25):
    last = arms["white inputs"].error.sel(alpha=alpha, noise=0.2).isel(time=-1)
    return last.sel(start=1.0) / last.sel(start=0.0)


def start_ratio_with_many_examples(arms):
    return start_ratio(arms, alpha=4.0)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 4, figsize=(15, 3.8), layout="constrained")
    run, correlated = arms["white inputs"], arms["correlated inputs"]
    shade = lambda i: plt.get_cmap("viridis")(i / len(run.alpha))

    def curves(ax, arm, alpha, colour, **at):
        """Theory as a line, what was measured as dots, a dot a seed."""
        picked = arm.sel(alpha=alpha)
        ax.plot(picked.clock.T, picked.error.sel(**at).T, ".", color=colour, ms=2.5, alpha=0.5)
        ax.plot(picked.clock[0], picked.theory.sel(**at)[0], color=colour, lw=1.2)

    for i, alpha in enumerate(run.alpha.values):
        curves(axes[0], run, alpha, shade(i), noise=0.2, start=0.0)
        axes[0].plot([], [], color=shade(i), label=f"{alpha:g}")
    axes[0].plot([], [], "k.", ms=4, label="measured")
    axes[0].legend(title="examples/inputs", frameon=False, fontsize=8)
    axes[0].set_title("Dots on the predicted lines …")
    curves(axes[1], correlated, 2.0, "C3", noise=0.2, start=0.0)
    curves(axes[1], run, 2.0, shade(3), noise=0.2, start=0.0)
    axes[1].plot([], [], "-", color=shade(3), label="white inputs")
    axes[1].plot([], [], "C3.", label="correlated (control)")
    axes[1].set_title("… if inputs are uncorrelated")
    axes[1].legend(frameon=False, fontsize=8)

    dense = np.geomspace(0.2, 5, 61)
    time = jnp.geomspace(0.05, 500, 60)
    for noise, colour, label in ((0.2, "C0", "noisy labels"), (0.0, "C3", "noiseless (control)")):
        theory = jax.vmap(lambda a, noise=noise: linear_generalization_curve(time, a, noise=noise))(dense)
        worse = jnp.nan_to_num(theory[:, -1] / theory.min(1), nan=1.0) - 1  # both may be 0 without noise
        axes[2].plot(dense, worse + 0.01, color=colour, lw=1.2, label=label)
        found = overtraining(run.error.sel(noise=noise, start=0.0)) + 0.01
        axes[2].plot(run.alpha, found.T, ".", color=colour, ms=5, alpha=0.5)
    axes[2].set(xscale="log", yscale="log", ylim=(None, 40), xlabel="examples/inputs")
    axes[2].set_ylabel("(error at the end / least error) - 0.99")
    axes[2].set_xticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axes[2].set_title("Overtraining peaks at 1")
    axes[2].legend(frameon=False, fontsize=8)

    for alpha, colour, label in ((0.25, "C0", "1/4"), (4.0, "C3", "4 (control)")):
        for start, style in ((0.0, "-"), (1.0, "--")):
            picked = run.sel(alpha=alpha, noise=0.2, start=start)
            axes[3].plot(picked.clock[0], picked.error.mean("seed"), style, color=colour)
        axes[3].plot([], [], color=colour, label=label)
    axes[3].plot([], [], "k-", label="start at 0")
    axes[3].plot([], [], "k--", label="start as large as the teacher")
    axes[3].set_title("Few examples: a large start stays")
    axes[3].legend(title="examples/inputs", frameon=False, fontsize=8)
    for ax, ticks in (
        (axes[0], (0.3, 0.5, 1, 2, 3)),
        (axes[1], (0.3, 0.5, 0.7, 1)),
        (axes[3], (0.3, 0.5, 1, 2, 3)),
    ):
        ax.set(xscale="log", yscale="log", xlabel="steps · learning rate", ylabel="test error")
        ax.set_yticks(ticks, [f"{t:g}" for t in ticks])
    axes[3].set_ylim(None, 5)
    for ax in axes:
        ax.minorticks_off()
    return fig


study = Study(
    experiment,
    arms={"white inputs": {}, "correlated inputs": {"decay": 1.0, "alpha": [0.5, 2.0]}},
    checks=[
        Check(
            "matches-rmt",
            "at half and at twice as many examples as inputs the test error is within 10% of the prediction throughout",
            theory_error,
            at_most(0.1),
            control={"white inputs": "correlated inputs"},
            because="no free parameter; means over 64 teachers with 100 weights fluctuate by √(2/6400) = 2%",
        ),
        Check(
            "peak-at-one",
            "training too long costs at least 3 times as much at α = 1 as at 1/4 and 4 (0.01 added to each)",
            peak_ratio,
            at_least(3),
            control=noiseless_peak_ratio,
            because="only at α = 1 does the spectrum reach down to 0, where noise is amplified most",
        ),
        Check(
            "small-start",
            "at α = 1/4 a start of the teacher's size ends at least 1.5 times as high as one at zero",
            start_ratio,
            at_least(1.5),
            control=start_ratio_with_many_examples,
            because="1 - α of the directions never move: 0.75 of error on 1.02, a ratio of 1.74",
        ),
    ],
    reports=[
        Report(
            "at-one",
            "largest distance from the prediction at α = 1, over it",
            lambda arms: (
                abs(arms["white inputs"].error / arms["white inputs"].theory - 1)
                .sel(alpha=1.0, noise=0.2)
                .max(("start", "time"))
            ),
        ),
    ],
    dims={**dict.fromkeys(("error", "theory"), ("noise", "start", "time")), "clock": ("time",)},
    coords={"noise": NOISE, "start": START},
    x64=True,
    full={
        "alpha": np.geomspace(0.125, 8, 60),
        "inputs": 2000,
        "most_examples": 16_000,
        "draws": 32,
    },
    figure=figure,
)
