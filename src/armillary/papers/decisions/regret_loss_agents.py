"""Do LLM Agents Have Regret? A Case Study in Online Learning and Games (2024).

Claim: a layer of linear attention trained only to have low regret becomes follow-the-regularized-leader: it plays against the
sum of past losses, all actions alike. On alternating losses it has less regret than following the leader.
Control: the same layer, trained to imitate the leader; for the form of the rule, one action four times as noisy.
Scope: no language model is asked. Two and three actions, 20 rounds, random losses around a mean of the sequence's own.
How much less depends on the law of the losses: the more the means differ, the longer the step that is learned, and the
closer to the leader. Growth with the number of rounds is not measured.
Departures: no constant in the values, which would add up over rounds and saturate the plays. The bound on alternating losses
was set with shares of 0.43 to 0.58 in view.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.decide import (
    follow_leader,
    follow_regularized_leader,
    past,
    project_simplex,
    regret,
    regret_loss,
)
from armillary.lab import Check, Report, Study, at_most
from armillary.train import fit

STEPS = np.geomspace(0.1, 6, 24)


def plays(params, losses):
    """One layer of linear attention over the past losses, projected to mixtures of actions."""
    attention = params["constant"] + losses @ params["key"]
    return project_simplex(params["bias"] + past(losses @ params["value"].T * attention[..., None]))


def experiment(
    key,
    *,
    actions=2,
    imitate=0.0,
    noisier=1.0,
    spread=0.5,
    rounds=20,
    batch=128,
    steps=800,
    rate=1e-2,
    tests=2000,
):
    """`imitate`: 1 trains on the leader's plays; `noisier`: deviation of the last action's losses; `spread`: of means."""
    k_start, k_train, k_test = jax.random.split(key, 3)
    noise = jnp.ones(actions).at[-1].set(noisier)

    def draw(key, count=batch):
        k_mean, k_noise = jax.random.split(key)
        means = spread * jax.random.normal(k_mean, (count, 1, actions))
        return means + noise * jax.random.normal(k_noise, (count, rounds, actions))

    def loss(params, losses):
        policy = lambda x: plays(params, x)
        imitation = jnp.mean(jnp.sum((policy(losses) - follow_leader(losses)) ** 2, (1, 2)))
        return jnp.where(imitate > 0, imitation, regret_loss(policy, losses))

    k_value, k_key = jax.random.split(k_start)
    start = {
        "value": 0.1 * jax.random.normal(k_value, (actions, actions)),
        "key": 0.1 * jax.random.normal(k_key, (actions,)),
        "constant": jnp.array(0.5),
        "bias": jnp.full(actions, 1 / actions),
    }
    done = fit(loss, start, draw, optax.adam(rate), steps=steps, key=k_train, every=steps // 50)
    params = done.params

    # What the plays depend on: the projection to mixtures leaves differences of actions alone.
    centre = jnp.eye(actions) - 1 / actions
    linear = params["constant"] * centre @ params["value"] @ centre
    step = -jnp.sum(linear * centre) / jnp.sum(centre**2)

    fresh = draw(k_test, tests)
    mean_regret = lambda policy, losses: jnp.mean(regret(policy(losses), losses))
    trained = lambda losses: plays(params, losses)
    ftrl = lambda losses: jax.lax.map(
        lambda s: mean_regret(lambda x: follow_regularized_leader(x, s), losses), jnp.array(STEPS)
    )
    turn = jnp.eye(actions)[jnp.arange(rounds) % 2].at[0].multiply(0.5)
    alternating = jnp.stack([turn, turn[:, jnp.array([1, 0, *range(2, actions)])]])
    return {
        "ftrl_error": jnp.linalg.norm(linear + step * centre) / jnp.linalg.norm(linear),
        "step": step,
        "matrix": linear,
        "alternating": mean_regret(trained, alternating),
        "leader": mean_regret(follow_leader, alternating),
        "random": mean_regret(trained, fresh),
        "ftrl_random": ftrl(fresh),
        "ftrl_alternating": ftrl(alternating),
    }


def share(arms):
    return arms["regret"].alternating / arms["regret"].leader


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(10.5, 4.1), layout="constrained", width_ratios=(1.5, 1))
    run = arms["regret"]
    left.plot(run.ftrl_random.mean("seed"), run.ftrl_alternating.mean("seed"), "-", color="0.5", lw=1.5)
    for i in (0, 6, 12, 16):
        at = (run.ftrl_random[:, i].mean(), run.ftrl_alternating[:, i].mean())
        left.plot(*at, ".", color="0.5")
        left.annotate(
            f"step {STEPS[i]:.1f}", at, xytext=(6, -3), textcoords="offset points", fontsize=8, color="0.3"
        )
    left.plot([], [], "-", color="0.5", label="regularized leader, by its step")
    for name, colour, label in (
        ("regret", "C0", "trained on regret"),
        ("imitation", "C3", "trained to imitate the leader"),
    ):
        left.plot(arms[name].random, arms[name].alternating, "o", color=colour, label=label)
    left.axhline(float(run.leader.mean()), color="k", ls=":", lw=1)
    left.text(
        left.get_xlim()[1], float(run.leader.mean()), "the leader ", ha="right", va="bottom", fontsize=9
    )
    left.set(xlabel="regret on random losses", ylabel="regret on alternating losses")
    left.set_title("Low regret is a regularized leader, not the leader")
    left.legend(frameon=False, fontsize=9, loc="center right")
    values = arms["three"].matrix[0].values
    limit = abs(values).max()
    right.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    for i in range(3):
        for j in range(3):
            right.text(
                j, i, f"{values[i, j]:.2f}", ha="center", va="center", color="w" if values[i, j] < 0 else "k"
            )
    right.set_xticks(range(3), [f"loss {i + 1}" for i in range(3)])
    right.set_yticks(range(3), [f"action {i + 1}" for i in range(3)])
    right.set_title("The learned map, three actions\n(−step · (I − 1/3) in theory)")
    return fig


study = Study(
    experiment,
    arms={
        "regret": {},
        "imitation": {"imitate": 1.0},
        "three": {"actions": 3},
        "three, one noisier": {"actions": 3, "noisier": 4.0},
    },
    requires=[
        Check(
            "competitive",
            "regret on random losses over that of the regularized leader with its best step",
            lambda arms: arms["regret"].random / arms["regret"].ftrl_random.min("ftrl_step"),
            at_most(1.05),
            because="the trained rule should match the best of its class",
        ),
    ],
    checks=[
        Check(
            "is-ftrl",
            "distance of the learned map of three actions from a multiple of the identity, relative",
            lambda arms: arms["three"].ftrl_error,
            at_most(0.1),
            control={"three": "three, one noisier"},
            because="losses alike for all actions leave a·I + b·11ᵀ, and the projection takes b away",
        ),
        Check(
            "no-regret",
            "regret on alternating losses over the leader's",
            share,
            at_most(0.7),
            control={"regret": "imitation"},
            basis="pilot",
            because="a step below 2 reacts in part: the share is half the step; the leader reacts in full",
        ),
    ],
    reports=[
        Report("step", "the step that is learned, two actions", lambda a: a["regret"].step),
        Report(
            "best-step",
            "the regularized leader's best step",
            lambda a: STEPS[np.argmin(a["regret"].ftrl_random.values, 1)],
        ),
        Report("imitation-step", "the step that imitation learns", lambda a: a["imitation"].step),
        Report(
            "imitation-random",
            "imitation's regret on random losses, over the best step's",
            lambda a: a["imitation"].random / a["imitation"].ftrl_random.min("ftrl_step"),
        ),
    ],
    dims={"matrix": ("action", "loss"), **dict.fromkeys(("ftrl_random", "ftrl_alternating"), ("ftrl_step",))},
    coords={"ftrl_step": STEPS.tolist()},
    full={"rounds": 100, "batch": 1024, "steps": 10_000, "rate": 3e-3, "tests": 20_000},
    pilot_seeds=range(8),
    figure=figure,
)
