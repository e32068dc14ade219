"""CurES: From Gradient Analysis to Efficient Curriculum Learning for Reasoning LLMs (2025).

Claim: with right-or-wrong rewards, sharing rollouts among prompts by the estimated spread of their rewards brings the
variance to its closed-form minimum. Sampling prompts by the same rule reaches a target accuracy with fewer rollouts than
uniform sampling.
Control: the same estimates, attached to the wrong prompts.
Scope: no language model: a linear softmax policy, shared by 256 prompts with planted answers, of which 30% are easy and 30%
hard. Variance is that of the mean reward of a fixed, half-trained policy. Clipping and KL terms are left out.
The closed form needs good estimates where rewards are seldom in doubt: near the end of training, 32 pilot rollouts a prompt
and the uniform prior leave the variance a quarter above it (reported).
Departures: how much is saved depends on how well the estimates keep up with the policy. At the rate of 3 they do; at 10 the
policy is through in a third of the time, each prompt seen a dozen times, and less is saved (reported). With the true chances of
success in the place of estimates the saving is about 40% at either rate.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.decide import curriculum, group_relative_gradient, neyman_allocation, posterior_spread
from armillary.lab import Check, Report, Study, at_most, between
from armillary.measure import first_crossing

KINDS = {"easy": (4.0, 0.3), "medium": (1.0, 0.4), "hard": (0.25, 0.3)}
"""The answer's margin, and the share of such prompts."""


def planted_prompts(key, count, dim, answers, noise):
    """Features that point towards their answer's direction, as far as their kind's margin, and noise."""
    k_teacher, k_right, k_noise = jax.random.split(key, 3)
    teacher = jnp.linalg.qr(jax.random.normal(k_teacher, (dim, answers)))[0].T
    right = jax.random.randint(k_right, (count,), 0, answers)
    margins = np.repeat(
        [m for m, _ in KINDS.values()],
        np.diff(np.round(count * np.cumsum([0.0, *[s for _, s in KINDS.values()]]))).astype(int),
    )
    return margins[:, None] * teacher[right] + noise * jax.random.normal(k_noise, (count, dim)), right


def experiment(
    key,
    *,
    follow=1.0,
    oracle=0.0,
    misplaced=0.0,
    rate=3.0,
    forgetting=0.9,
    noise=0.25,
    target=0.8,
    prompts=256,
    dim=16,
    answers=8,
    batch=32,
    rollouts=8,
    steps=1600,
    pilot=32,
    repeats=300,
):
    """`follow`: 1 samples by the spread, 0 uniformly; `oracle`: 1 knows it; `misplaced`: 1 takes another prompt's."""
    k_prompts, k_order, k_train, k_half, k_late = jax.random.split(key, 5)
    x, right = planted_prompts(k_prompts, prompts, dim, answers, noise)
    order = jax.random.permutation(k_order, prompts)
    gradient = group_relative_gradient(lambda w, x: x @ w.T, rollouts=rollouts)
    chance = lambda w: jax.nn.softmax(x @ w.T)[jnp.arange(prompts), right]

    def weights(w, successes, failures):
        p = chance(w)
        spread = jnp.where(oracle > 0, jnp.sqrt(p * (1 - p)), posterior_spread(successes, failures))
        spread = jnp.where(misplaced > 0, spread[order], spread)
        return jnp.where(follow > 0, spread, 1.0)

    def step(carry, key):
        w, successes, failures = carry
        k_pick, k_roll = jax.random.split(key)
        chances = curriculum(weights(w, successes, failures))
        pick = jax.random.choice(k_pick, prompts, (batch,), p=chances)
        won, slope = gradient(w, (x[pick], right[pick], k_roll))
        successes = successes.at[pick].multiply(forgetting).at[pick].add(won)
        failures = failures.at[pick].multiply(forgetting).at[pick].add(rollouts - won)
        return (w - rate * slope, successes, failures), jnp.mean(chance(w))

    untrained = (jnp.zeros((answers, dim)), jnp.zeros(prompts), jnp.zeros(prompts))
    _, course = jax.lax.scan(step, untrained, jax.random.split(k_train, steps))
    spent = jnp.arange(steps) * batch * rollouts

    def allocation(key, ascents):
        """Of rollouts at a policy on its way, some gradient steps from the start: measured variances, and theory."""
        k_pilot, k_equal, k_shared = jax.random.split(key, 3)
        ascend = lambda w, _: (w + 10.0 * jax.grad(lambda w: jnp.mean(chance(w)))(w), None)
        w = jax.lax.scan(ascend, untrained[0], length=ascents)[0]
        p = chance(w)
        tried = jax.random.binomial(k_pilot, pilot, p)
        total = 2 * pilot * prompts

        def variance(key, given):
            means = jax.random.binomial(key, given, p, (repeats, prompts)) / given
            return jnp.sum(jnp.var(means, 0)) / prompts**2  # prompts are tried independently

        given = neyman_allocation(weights(w, tried, pilot - tried), total)
        ratio = variance(k_shared, given) / variance(k_equal, jnp.full(prompts, total // prompts))
        spread = jnp.sqrt(p * (1 - p))
        return jnp.array([ratio, jnp.mean(spread) ** 2 / jnp.mean(spread**2), jnp.mean(p)])

    half = allocation(k_half, 5)
    return {
        "spent": first_crossing(spent, course, target),
        "course": course[:: steps // 100],
        "variance": half[0] / half[1],
        "least_variance": half[1],
        "half_trained": half[2],
        "late_variance": jnp.divide(*allocation(k_late, 40)[:2]),
    }


def saving(method, baseline):
    return lambda arms: arms[method].spent / arms[baseline].spent


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained", width_ratios=(1.5, 1))
    lines = (
        ("uniform", "0.4", "uniform"),
        ("misplaced", "C3", "estimates of other prompts"),
        ("cures", "C0", "by the estimated spread"),
        ("oracle", "C2", "by the true spread"),
    )
    for name, colour, label in lines:
        course = arms[name].course
        spent = np.arange(course.sizes["point"]) * 16 * 256 / 1000
        left.plot(spent, course.mean("seed"), color=colour, label=label)
        left.fill_between(spent, course.min("seed"), course.max("seed"), color=colour, alpha=0.15, lw=0)
    left.axhline(0.8, color="k", ls=":", lw=1)
    left.set(xlabel="rollouts, thousands", ylabel="mean chance of success", ylim=(0.1, 0.9))
    left.set_title("Rollouts go where answers are in doubt")
    left.legend(frameon=False, fontsize=9, loc="lower right")
    for i, (name, colour, _) in enumerate(lines):
        values = arms[name].variance
        right.plot(i + np.linspace(-0.15, 0.15, len(values)), values, "o", color=colour)
    right.axhspan(0.9, 1.1, color="0.9", lw=0)
    right.set_xticks(range(4), ["equal", "misplaced", "estimated", "true"])
    right.set(ylabel="variance over the closed form's", ylim=(0, None), title="… with the least variance")
    return fig


study = Study(
    experiment,
    arms={
        "cures": {},
        "uniform": {"follow": 0.0},
        "misplaced": {"misplaced": 1.0},
        "oracle": {"oracle": 1.0},
        "cures, fast": {"rate": 10.0},
        "uniform, fast": {"rate": 10.0, "follow": 0.0},
    },
    checks=[
        Check(
            "neyman",
            "variance with shared over that with equal rollouts, measured, over theory",
            lambda arms: arms["cures"].variance,
            between(0.9, 1.1),
            control={"cures": "misplaced"},
            because="(mean s)² / mean s² with s = √(p(1-p)); 32 pilot rollouts for the estimates cost a few percent",
        ),
        Check(
            "faster",
            "rollouts to a mean chance of success of 0.8, by the estimated spread over uniform",
            saving("cures", "uniform"),
            at_most(0.8),
            control={"cures": "misplaced"},
            basis="pilot",
            because="the paper claims a clear saving without a number for such a task",
        ),
    ],
    reports=[
        Report("oracle", "the same by the true spread", saving("oracle", "uniform")),
        Report(
            "fast",
            "the same by the estimated spread, at a rate of 10",
            saving("cures, fast", "uniform, fast"),
        ),
        Report(
            "theory", "the least variance over that with equal rollouts", lambda a: a["cures"].least_variance
        ),
        Report(
            "late",
            "variance over theory at a policy that is nearly through",
            lambda a: a["cures"].late_variance,
        ),
        Report(
            "half-trained",
            "mean chance of success where variances are measured",
            lambda a: a["cures"].half_trained,
        ),
    ],
    dims={"course": ("point",)},
    full={"prompts": 10_000, "dim": 64, "answers": 32, "rollouts": 16, "batch": 256, "steps": 8000},
    pilot_seeds=range(8),
    figure=figure,
)
