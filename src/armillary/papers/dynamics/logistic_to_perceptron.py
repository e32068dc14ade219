"""From Logistic Regression to the Perceptron Algorithm: Exploring Gradient Descent with Large Step Sizes (2024).

Claim: as its step γ grows, gradient descent on the logistic loss becomes the batch perceptron step for step; it
then separates the data in fewer updates while its loss is higher, and needs updates in proportion to the number
n of examples on a hard set, where dividing each step by the mean misclassification probability removes the n.
Control: the slope s(-m) of the loss becomes the unsaturated max(0, 1 - m), so that rescaling by γ has no limit;
plain and normalized steps change places; the loss is taken at θ/γ.
Scope: linear separators of digits 3 and 8 (80% drawn a seed); updates, not seconds. The bound R²/μ² is tested.
Departures: the hard set's s is drawn from [0.3, 0.5] a seed instead of fixed at 0.3, so that its interval over
seeds is one over sets; the normalized count is therefore checked as a share of that set's own R²/μ². The loss is
the mean over updates 1 to 10 instead of that after the tenth alone, which depends on whether just that update
leaves examples wrong. Both were settled on seeds 0 to 15, which are skipped.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import digits, mnist
from armillary.lab import Check, Study, at_least, at_most
from armillary.train import (
    batch_perceptron,
    iterates,
    logistic_gd,
    logistic_weights,
    normalized_logistic_gd,
    perceptron_weights,
    separate,
)


def load(source: str, pair: tuple[int, int]) -> np.ndarray:
    """±(pixels, 1) of two digits' images, the longest of length 1: what a separator must make positive."""
    x, y = digits() if source == "digits" else mnist()
    x, y = x[np.isin(y, pair)].astype(np.float64), y[np.isin(y, pair)]
    z = np.where(y == pair[0], -1.0, 1.0)[:, None] * np.c_[x, np.ones(len(x))]
    return z / np.linalg.norm(z, axis=1).max()


def experiment(
    key,
    data,
    *,
    source: Literal["digits", "mnist"] = "digits",
    pair=(3, 8),
    examples=286,
    gammas=(1.0, 10.0, 1e2, 1e3, 1e4, 1e6),
    sizes=(32, 128, 512),
    hard_gamma=1e4,
    max_iter=20_000,
    path_steps=512,
    saturating=1.0,
):
    draw, hard = jax.random.split(key)
    z = jax.random.permutation(draw, data)[:examples]
    weigh = lambda m: jnp.where(saturating > 0.5, logistic_weights(m), jnp.maximum(0.0, 1.0 - m))
    gamma, n = jnp.array(gammas), jnp.array(sizes, float)

    # One step size after another: side by side, all would run as long as the slowest.
    updates = jax.lax.map(lambda g: separate(z, weigh, g, max_iter=max_iter).iterations, gamma)
    limit = batch_perceptron(z, max_iter=max_iter).iterations
    path = jax.vmap(lambda g: iterates(z, weigh, g, steps=path_steps))(gamma)
    target = iterates(z, perceptron_weights, 1.0, steps=path_steps)
    gap = jnp.linalg.norm(path / gamma[:, None, None] - target, axis=-1) / jnp.linalg.norm(target, axis=-1)
    gap = jnp.where(jnp.arange(1, path_steps + 1) <= limit, jnp.nan_to_num(gap, nan=1e6), 0.0).max(-1)
    margins = path[:, :10] @ z.T

    # n - 1 copies of (1, 0) and one (-1, s): R² = 1 + s², margin (s/2)/√(1 + s²/4). From (1/2, s/n) the single
    # point gains (1 + s²)/n an update, so it is right after n/(2(1 + s²)) of them; the others have then lost
    # 1/(2(1 + s²)) of their 1/2, and are still right if n > 2(1 + s²)/s², which is 24 at s = 0.3.
    s = jax.random.uniform(hard, minval=0.3, maxval=0.5)
    few = jnp.array([[1.0, 0.0], [-1.0, 0.0]]).at[1, 1].set(s)
    count = lambda rule: jax.vmap(
        lambda n: rule(few, hard_gamma, max_iter=max_iter, share=jnp.array([n - 1, 1]) / n).iterations
    )(n)
    return {
        "updates": updates,
        "perceptron_updates": limit,
        "path_gap": jnp.minimum(gap, 1e6),
        "loss": jax.nn.softplus(-margins).mean((1, 2)),
        "scaled_loss": jax.nn.softplus(-margins / gamma[:, None, None]).mean((1, 2)),
        "plain": count(logistic_gd),
        "normalized": count(normalized_logistic_gd),
        "bound": (1 + s**2) * (1 + s**2 / 4) / (s**2 / 4),
    }


def speedup(arms):
    updates = arms["logistic"].updates
    return updates.sel(gamma=1) / updates.sel(gamma=1e4)


def loss_ratio(arms):
    loss = arms["logistic"].loss
    return loss.sel(gamma=1e4) / loss.sel(gamma=1)


def loss_at_theta_over_gamma(arms):
    run = arms["logistic"]
    return run.scaled_loss.sel(gamma=1e4) / run.loss.sel(gamma=1)


def slope(counts):
    n = np.log(counts.n) - np.log(counts.n).mean()
    return (np.log(counts) * n).sum("n") / (n**2).sum()


def plain_slope(arms):
    return slope(arms["logistic"].plain)


def normalized_slope(arms):
    return slope(arms["logistic"].normalized)


def normalized_share_of_bound(arms):
    return arms["logistic"].normalized.max("n") / arms["logistic"].bound


def plain_share_of_bound(arms):
    return arms["logistic"].plain.max("n") / arms["logistic"].bound


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    run, control = arms["logistic"], arms["squared hinge"]

    def dots(ax: Any, values: Any, over: str, **style: Any) -> None:
        ax.plot(run[over], values.mean("seed"), "-o", ms=4, **style)
        ax.fill_between(run[over], values.min("seed"), values.max("seed"), alpha=0.25, color=style["color"])

    dots(axes[0], run.updates, "gamma", color="C0", label="logistic loss")
    dots(axes[0], control.updates, "gamma", color="C3", label="squared hinge (control)")
    perceptron = float(run.perceptron_updates.mean())
    axes[0].axhline(perceptron, color="k", ls="--", label=f"batch perceptron ({perceptron:.0f})")
    axes[0].text(
        1e6, 0.85 * float(control.updates.max()), "given up", ha="right", va="top", color="C3", fontsize=8
    )
    axes[0].set(ylabel="updates to zero training error", title="Larger steps separate sooner …")
    dots(axes[1], run.loss, "gamma", color="C0", label="at θ")
    dots(axes[1], run.scaled_loss, "gamma", color="C2", label="at θ/γ (control)")
    axes[1].set(ylabel="loss, mean of updates 1–10, nats", title="… at a higher loss")
    dots(axes[2], run.plain, "n", color="C0", label="plain")
    dots(axes[2], run.normalized, "n", color="C1", label="normalized")
    axes[2].axhline(float(run.bound.mean()), color="k", ls="--", label="R²/μ², mean over sets")
    axes[2].set(xlabel="examples n of the hard set", ylabel="updates to zero training error")
    axes[2].set_title("Normalizing removes the factor n")
    for ax in axes:
        ax.set(xscale="log", yscale="log")
        ax.legend()
    axes[2].set_xticks(run.n, [str(n) for n in run.n.values], minor=False)
    axes[2].minorticks_off()
    for ax in axes[:2]:
        ax.set_xlabel("step size γ")
    return fig


study = Study(
    experiment,
    arms={"logistic": {}, "squared hinge": {"saturating": 0.0}},
    requires=[
        Check(
            "separable",
            "the perceptron separates every draw within the path that is compared",
            lambda arms: arms["logistic"].perceptron_updates,
            at_most(512),
            because="paths are compared up to separation, over 512 updates",
        ),
    ],
    checks=[
        Check(
            "becomes-perceptron",
            "at γ = 10⁶ the path of θ/γ is the batch perceptron's, up to separation",
            lambda arms: arms["logistic"].path_gap.sel(gamma=1e6),
            at_most(0.05),
            control={"logistic": "squared hinge"},
            because="the limit is exact; only margins near zero can part the two paths",
        ),
        Check(
            "faster",
            "γ = 10⁴ needs at most a tenth of the updates of γ = 1",
            speedup,
            at_least(10),
            control={"logistic": "squared hinge"},
            because="updates fall as 1/γ until the perceptron limit",
        ),
        Check(
            "loss-misleads",
            "its loss over the first 10 updates is at least ten times as high",
            loss_ratio,
            at_least(10),
            control=loss_at_theta_over_gamma,
            basis="pilot",
            because="while an example is wrong by any margin, the loss grows as γ",
        ),
        Check(
            "plain-pays-n",
            "on the hard set plain updates grow as n to a power of at least 0.8",
            plain_slope,
            at_least(0.8),
            control=normalized_slope,
            because="updates are n/(2(1 + s²)) + 1 to leading order, a slope of 1",
        ),
        Check(
            "normalized-fixes-n",
            "normalized updates stay within R²/μ² for every n",
            normalized_share_of_bound,
            at_most(1),
            control=plain_share_of_bound,
            because="the perceptron's bound for steps that are convex combinations of wrong examples",
        ),
    ],
    dims={
        **dict.fromkeys(("updates", "path_gap", "loss", "scaled_loss"), ("gamma",)),
        **dict.fromkeys(("plain", "normalized"), ("n",)),
    },
    coords={
        "gamma": lambda settings: list(settings["gammas"]),
        "n": lambda settings: list(settings["sizes"]),
    },
    data=load,
    x64=True,
    pilot_seeds=range(16),
    full={
        "source": "mnist",
        "examples": 1500,
        "sizes": (32, 128, 512, 2048, 8192, 32_768, 100_000),
        "max_iter": 300_000,
        "path_steps": 4096,
        "seeds": 32,
    },
    figure=figure,
)
