"""Transformers Learn Higher-Order Optimization Methods for In-Context Learning: A Study with Linear Models (2023).

Claim: each further layer of a trained stack of linear attention at least doubles the number of gradient steps that the
stack is worth, every step of its best size. In iterations of Newton's method the advance is more nearly constant. On
ill-conditioned inputs three layers leave at most a third of the loss of three such steps.
Control: the layers keep their inputs; for the second clause, the same stacks are counted in steps of gradient descent.
Scope: stacks of one, two and three linear layers, each trained by itself, stand in for the layers of a 12-layer softmax
transformer with read-outs. The rate is judged, not that the circuit is Newton's: GD++ has the same rate. The clocks are
compared on isotropic inputs; on ill-conditioned ones the second layer adds 1.7 times as many Newton iterations as the
third. Newton's clock is steadier than that of equal steps, the paper's rival; in steps of the best sizes three depths
are too few to tell, and that ratio is a report.
Departures: 40 examples at dimension 5, and every prompt's inputs are scaled to mean square 1. With 20, or unscaled, one
prompt in thousands on whose large eigenvalue a polynomial of degree 13 explodes can be most of the mean loss, which
then says nothing of the others. Skewed inputs have a random orientation in every prompt, so that no fixed
preconditioner can be learned. Of three starts the stack with the least loss on fresh prompts is kept: from a single
start about one stack of three layers in ten ends in a worse minimum, worth 5 steps instead of 8. A constant advance is
judged by the ratio of the two advances, not by their size, which depends on how Newton's iteration is started.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import linear_regression_prompts, regression_moments
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import (
    algorithm_match,
    best_residual_risks,
    gauss_quadrature,
    iterations_at,
    iterative_newton,
    moment_spectrum,
    newton_residuals,
    residual_risk,
)
from armillary.train import fit_linear_attention_stack

DEGREES, STEPS, ITERATIONS = 16, 40, 12


def experiment(
    key,
    *,
    condition=1.0,
    rewriting=1.0,
    dim=5,
    layers=(1, 2, 3),
    length=40,
    prompts=128,
    starts=3,
    steps=400,
    rate=0.1,
    tests=4000,
):
    """`condition`: of the inputs' covariance, whose eigenvalues are a geometric series.

    `rewriting`: at 0 every layer sees the inputs as they are. `starts`: of which the best stack is kept.
    """
    k_test, k_compare, k_train = jax.random.split(key, 3)
    covariance = condition ** -jnp.linspace(0, 1, dim)
    covariance = covariance / covariance.mean()

    def draw(key, prompts=prompts):
        return regression_moments(key, prompts, length, covariance, rotate=True, normalize=True)

    def risk(stack, moments):
        return jnp.mean(residual_risk(stack.residual_maps(moments.second_moment)[-1], moments.covariance))

    def train(depth, key):
        k_choose, key = jax.random.split(key)
        fresh = draw(k_choose, 1000)

        def start(key):
            stack = fit_linear_attention_stack(
                risk, depth, dim, draw, key=key, rewriting=rewriting, steps=steps, rate=rate
            ).params
            return stack, risk(stack, fresh)

        stacks, risks = jax.lax.map(start, jax.random.split(key, starts))
        return jax.tree.map(lambda a: a[jnp.nanargmin(risks)], stacks)

    stacks = [train(depth, jax.random.fold_in(k_train, depth)) for depth in layers]
    test = draw(k_test, tests)
    law = moment_spectrum(*test)
    loss = jnp.stack([risk(stack, test) for stack in stacks])
    polynomials = best_residual_risks(law, DEGREES)
    newton = jnp.sum(law.weights * newton_residuals(law.nodes, ITERATIONS) ** 2, (1, 2))
    # The best loss of t equal steps; the rule integrates (1 - ηλ)²ᵗ exactly.
    rule = gauss_quadrature(law, STEPS + 1)
    sizes, counts = jnp.linspace(0.02, 2, 100)[:, None, None], jnp.arange(STEPS + 1)[:, None]
    descent = jnp.sum(rule.weights * (1 - sizes * rule.nodes) ** (2 * counts), -1).min(0)

    compare = linear_regression_prompts(k_compare, 1000, length, covariance, queries=dim)
    scale = jnp.sqrt(jnp.mean(compare.x**2, (1, 2)))[:, None]
    x, query = compare.x / scale[..., None], compare.query / scale[..., None]
    match = algorithm_match(
        stacks, iterative_newton(ITERATIONS, path=True), x, compare.y / scale, query, compare.target / scale
    )
    return {
        "loss": loss,
        "polynomial_loss": polynomials,
        "in_best_steps": iterations_at(loss, polynomials),
        "in_equal_steps": iterations_at(loss, descent),
        "in_newton": iterations_at(loss, newton),
        "error_cosine": match.error_cosine,
    }


def growth(arms):
    counts = np.log2(arms["isotropic"].in_best_steps)
    return counts.polyfit("depth", 1).polyfit_coefficients.sel(degree=1)


def advance(run, clock):
    return run[clock].diff("depth")


def newton_advance(depth):
    return lambda arms: advance(arms["isotropic"], "in_newton").sel(depth=depth)


def unevenness(arm, clock):
    def value(arms):
        advances = advance(arms[arm], clock)
        return advances.max("depth") / advances.min("depth")

    return value


def skewed_ratio(arms):
    run = arms["skewed"]
    depth = run.depth[-1]
    return run.loss.sel(depth=depth) / run.polynomial_loss.sel(degree=depth)


def figure(arms):
    import matplotlib.pyplot as plt

    free, kept, skewed = (arms[name] for name in ("isotropic", "isotropic, inputs kept", "skewed"))
    depth = free.depth.values
    fig, axes = plt.subplots(2, 2, figsize=(10, 7.4), layout="constrained")

    def mark(ax, run, values, style, label, **options):
        ax.plot(run.depth, values.T, style, alpha=0.5, **options)
        ax.plot([], [], style, label=label, **options)

    ax = axes[0, 0]
    ax.set_gid("thumbnail")
    ax.plot(depth, (3.0**depth - 1) / 2, "k:", lw=1, label="highest possible degree")
    ax.plot(depth, 2.0 ** (depth - 1), "k", lw=1, label="bound: doubling")
    mark(ax, free, free.in_best_steps, "C0o-", "trained, isotropic inputs")
    mark(ax, skewed, skewed.in_best_steps, "C9s-", "trained, skewed inputs", ms=4)
    mark(ax, kept, kept.in_best_steps, "C3x-", "inputs kept (control)")
    ax.set(yscale="log", xlabel="layers", ylabel="gradient steps of the best sizes", xticks=depth)
    ax.set_yticks([1, 2, 4, 8], ["1", "2", "4", "8"], minor=False)
    ax.minorticks_off()
    ax.set_title("A layer more than doubles the steps …")
    ax.legend(loc="upper left", fontsize=8)

    ax = axes[0, 1]
    mark(ax, free, free.in_newton, "C0o-", "iterations of Newton's method")
    mark(ax, free, free.in_equal_steps, "C3x-", "gradient steps of one size (control)")
    ax.set(xlabel="layers", ylabel="count with the same loss", xticks=depth)
    ax.set_title("… which Newton's method counts almost linearly")
    ax.legend(loc="upper left", fontsize=8)

    ax = axes[1, 0]
    image = ax.imshow(free.error_cosine.mean("seed"), vmin=0, vmax=1, cmap="Blues", aspect="auto")
    for row, cosines in enumerate(free.error_cosine.mean("seed").values):
        ax.plot(np.argmax(cosines), row, "ko", ms=5)
    ax.set(xlabel="iterations of Newton's method", ylabel="layers", xticks=free.iteration)
    ax.set_yticks(range(len(depth)), [str(d) for d in depth])
    ax.grid(False)
    fig.colorbar(image, ax=ax, label="cosine of the errors; dot: the largest")
    ax.set_title("Each layer errs like some iterations more")

    ax = axes[1, 1]
    ax.plot(
        range(6),
        skewed.polynomial_loss.mean("seed")[:6],
        "k--",
        lw=1,
        label="GD, every step at its best size",
    )
    other = arms["skewed, inputs kept"]
    mark(ax, other, other.loss, "C3x", "inputs kept (control)")
    mark(ax, skewed, skewed.loss, "C9s", "may rewrite inputs", ms=4)
    last = int(depth[-1])
    third = float(skewed.polynomial_loss.mean("seed")[last]) / 3
    ax.plot([last - 0.3, last + 0.3], [third, third], color="k", lw=1)
    ax.text(last + 0.35, 0.9 * third, "bound: a third\nof three steps", fontsize=8, va="top")
    ax.set(yscale="log", xlabel="layers, or steps", ylabel="loss (predicting zero: 5)")
    ax.set_title("Skewed inputs: condition 16")
    ax.legend(loc="lower left", fontsize=8)
    return fig


study = Study(
    experiment,
    arms={
        "isotropic": {},
        "skewed": {"condition": 16.0},
        "isotropic, inputs kept": {"rewriting": 0.0},
        "skewed, inputs kept": {"condition": 16.0, "rewriting": 0.0},
    },
    checks=[
        Check(
            "exponential",
            "every further layer doubles the worth in gradient steps: slope of log2 over layers",
            growth,
            at_least(1.0),
            control={"isotropic": "isotropic, inputs kept"},
            holds_under=[{"isotropic": "skewed"}],
            because="a doubling is 1; a step a layer is log2(3)/2 = 0.79, the degree's bound log2(13)/2 = 1.85",
        ),
        Check(
            "newton-clock",
            "in Newton iterations the advance is steadier: the larger of two over the smaller",
            unevenness("isotropic", "in_newton"),
            at_most(2.0),
            control=unevenness("isotropic", "in_equal_steps"),
            because="1 if the advance is constant; a count that doubles with every layer advances by 1, then by 2",
        ),
        Check(
            "ill-conditioned",
            "skewed inputs: three layers leave a third of the loss of the three best steps",
            skewed_ratio,
            at_most(1 / 3),
            control={"skewed": "skewed, inputs kept"},
            basis="convention",
            because="without rewriting it is 1, the best that three layers can; a third is a margin on that",
        ),
    ],
    reports=[
        Report(
            f"advance-{depth}",
            f"Newton iterations that layer {depth} adds, isotropic inputs; the paper has about 3 a layer",
            newton_advance(depth),
        )
        for depth in (2, 3)
    ]
    + [
        Report(
            "newton-clock-skewed",
            "the larger advance over the smaller in Newton iterations, on skewed inputs",
            unevenness("skewed", "in_newton"),
        ),
        Report(
            "best-steps-clock",
            "the larger advance over the smaller in gradient steps of the best sizes, isotropic inputs",
            unevenness("isotropic", "in_best_steps"),
        ),
        Report(
            "worth",
            "gradient steps of the best sizes that three layers are worth, isotropic inputs; at most 13",
            lambda arms: arms["isotropic"].in_best_steps.isel(depth=-1),
        ),
    ],
    dims={
        **dict.fromkeys(("loss", "in_best_steps", "in_equal_steps", "in_newton"), ("depth",)),
        "polynomial_loss": ("degree",),
        "error_cosine": ("depth", "iteration"),
    },
    coords={
        "depth": lambda s: s["layers"],
        "degree": range(DEGREES + 1),
        "iteration": range(ITERATIONS + 1),
    },
    seeds=6,
    full={"dim": 8, "length": 40, "prompts": 1024, "steps": 50_000, "rate": 0.02, "tests": 20_000},
    figure=figure,
)
