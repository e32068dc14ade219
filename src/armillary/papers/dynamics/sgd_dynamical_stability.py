"""The Implicit Regularization of Dynamical Stability in Stochastic Gradient Descent (2023).

Claim: at one learning rate η, SGD on single examples ends only at global minima whose Hessian has
η tr(H)/2 ≤ 1, and they generalize better; full-batch gradient descent ends at minima that violate this trace
bound by far, although they satisfy its own, η λ_max(H)/2 ≤ 1, and from which SGD runs away.
Control: the batch grows from one example to all of them: same start, data, rate, warm-up and steps, no noise. Where
the claim compares the two batches, it is the rate that changes: at the smallest the trace bound binds neither.
Scope: sparse regression with a diagonal linear network, where tr(H) caps an l1-like norm of the predictor (a
two-layer ReLU network on digits at full scale). Mean-square stability is computed exactly, not simulated; what
a run obeys is the looser almost-sure limit. The generalization bounds are not checked.
Departures: 32 seeds instead of 8. A first run, on seeds 0 to 7, left better-minimum undecided (0.79 to 2.67), and
escape was added after it; those seeds are skipped, and the verdict counts on others. No bound was moved. The control of better-minimum
is the smallest rate: full batches in SGD's place would compare gradient descent with itself.
"""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import optax

from armillary.data import digits
from armillary.lab import Check, Report, Study, at_least, at_most, between
from armillary.measure import (
    gradient_matrix,
    hessian_sizes,
    largest_eigenvalues,
    mean_square_stability,
    per_example_gradients,
)
from armillary.nn import MLP, DiagonalLinear
from armillary.train import fit

RATES = [0.01, 0.02, 0.04]


def load(network: str) -> tuple[np.ndarray, ...]:
    """Digits 3 and 8 as ±1 for the ReLU network; the diagonal one draws its own examples."""
    if network == "diagonal":
        return ()
    x, y = digits((3, 8))
    return x, 2.0 * y - 1.0


def problem(key, data, network, examples, dim, nonzeros, start, width):
    """The examples, the network before training, and its risk: the mean square error on fresh examples."""
    if network == "diagonal":
        x, truth = jax.random.normal(key, (examples, dim)), (jnp.arange(dim) < nonzeros).astype(float)
        # For standard Gaussian inputs the risk is the squared error of the coefficients.
        return x, x @ truth, DiagonalLinear(dim, start), lambda net: ((net.coefficients - truth) ** 2).sum()
    order = jax.random.permutation(key, len(data[0]))
    (x, y), (x_test, y_test) = ([a[order[s]] for a in data] for s in (slice(examples), slice(examples, None)))
    net = MLP((x.shape[1], width, 1), key)
    return x, y, net, lambda net: jnp.mean((net(x_test)[:, 0] - y_test) ** 2)


def experiment(
    key,
    data,
    *,
    network: Literal["diagonal", "relu"] = "diagonal",
    examples=40,
    dim=100,
    nonzeros=5,
    start=0.5,
    width=512,
    batch=1.0,
    rate=RATES,
    steps=20_000,
    warmup=2_000,
    every=500,
    kick=1e-3,
    kicked_steps=1_000,
):
    """`batch` is traced as `rate` is: a stability diagram over the two is one program."""
    k_data, k_train, k_kick, k_again, k_hessian = jax.random.split(key, 5)
    x, y, net, risk = problem(k_data, data, network, examples, dim, nonzeros, start, width)

    def loss(net, weights):
        return weights @ (net(x).reshape(examples) - y) ** 2 / 2

    def draw(key, batch=batch):
        """Weights 1/B on B examples drawn without replacement: those of rank below B."""
        u = jax.random.uniform(key, (examples,))
        return jnp.where((u[:, None] > u).sum(1) < batch, 1 / batch, 0.0)

    def gradients(net):
        return gradient_matrix(per_example_gradients(lambda net, x: net(x).sum(), net, x))

    def curvature(net):
        gram = gradients(net) @ gradients(net).T / examples
        top = largest_eigenvalues(lx.MatrixLinearOperator(gram, lx.symmetric_tag), 1, key=k_hessian)
        return jnp.trace(gram), top.values[0]

    schedule = optax.linear_schedule(0.0, rate, warmup)
    run = fit(loss, net, draw, optax.sgd(schedule), steps=steps, key=k_train, every=every, record=curvature)
    net, everything = run.params, jnp.full(examples, 1 / examples)
    stable = mean_square_stability(gradients(net), batch)
    explicit = hessian_sizes(loss, net, everything, key=k_hessian)
    # Relative differences, beyond three standard errors where the explicit Hessian is too large to write out.
    gaps = [
        jnp.maximum(abs(found.value - value) - 3 * found.error, 0) / value
        for found, value in zip(explicit, (stable.trace, stable.frobenius, stable.largest))
    ]

    # From this minimum on single examples, a small kick away: does SGD stay?
    noise = optax.tree.random_like(k_kick, eqx.filter(net, eqx.is_array))
    kicked = eqx.apply_updates(net, optax.tree.scale(kick, noise))
    again = fit(loss, kicked, lambda k: draw(k, 1.0), optax.sgd(rate), steps=kicked_steps, key=k_again)
    return {
        "trace_ratio": rate * stable.trace / 2,
        "sharpness_ratio": rate * stable.largest / 2,
        "threshold_ratio": stable.limit * stable.trace / 2,
        "bound_ratio": rate / stable.trace_bound,
        "limit_ratio": rate / stable.limit,
        "hessian_gap": jnp.stack(gaps).max(),
        "train_loss": loss(net, everything),
        "risk": risk(net),
        "trace_curve": run.record[0],
        "largest_curve": run.record[1],
        # Ten times as far as the kick, or nowhere finite.
        "left": ~(_distance(again.params, net) <= 10 * _distance(kicked, net)),
    }


def _distance(net, other):
    return optax.tree.norm(jax.tree.map(jnp.subtract, *(eqx.filter(n, eqx.is_array) for n in (net, other))))


def at_the_largest_rate(name):
    return lambda arms: arms["SGD"][name].isel(rate=-1)


def risk_ratio(rate):
    return lambda arms: (arms["GD"].risk / arms["SGD"].risk).isel(rate=rate)


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 3, figsize=(12, 3.8), layout="constrained")
    names = {"SGD": ("C0", "one example"), "SGD, batch 4": ("C2", "4"), "GD": ("C3", "all (control)")}
    for name, (colour, label) in names.items():
        run = arms[name]
        axes[0].plot(run.rate, run.trace_ratio.mean("seed"), "-o", ms=4, color=colour, label=label)
        axes[0].fill_between(
            run.rate, run.trace_ratio.min("seed"), run.trace_ratio.max("seed"), color=colour, alpha=0.25
        )
        last = run.isel(rate=-1)
        for curve, style in ((last.trace_curve, "-"), (last.largest_curve, ":")):
            if name in ("SGD", "GD"):
                ratio = float(last.rate) / 2 * curve
                axes[1].plot(run.time, ratio.mean("seed"), style, color=colour)
                axes[1].fill_between(run.time, ratio.min("seed"), ratio.max("seed"), color=colour, alpha=0.2)
    axes[0].set(xscale="log", yscale="log", xlabel="learning rate η", ylabel="η tr(H)/2 at the minimum")
    axes[0].set_title("Single-example SGD keeps to the bound")
    axes[0].legend(title="batch")
    ticks = [float(r) for r in arms["SGD"].rate]
    axes[0].set_xticks(ticks, [f"{r:g}" for r in ticks])
    axes[0].set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    axes[0].minorticks_off()
    eta = float(arms["SGD"].rate[-1])
    axes[1].plot([], [], "k-", label="η tr(H)/2")
    axes[1].plot([], [], "k:", label=r"η $\lambda_{\max}$(H)/2")
    axes[1].set(xlabel="step", ylabel="share of the stability bound", yscale="log")
    axes[1].set_title(f"… by leaving sharp minima (η = {eta:g})")
    axes[1].legend()
    for ax in axes[:2]:
        ax.axhline(1, color="k", lw=0.8)
    pair = [arms[name].risk.isel(rate=-1) for name in ("GD", "SGD")]
    top = 1.05 * max(float(p.max()) for p in pair)
    axes[2].plot(*pair, "o", color="C0", alpha=0.7)
    axes[2].plot([0, top], [0, top], "k-", lw=0.8, label="equal")
    axes[2].plot([0, top], [0, top / 1.3], "k--", lw=0.8, label="GD's is 1.3 times SGD's")
    axes[2].set(xlim=(0, top), ylim=(0, top), xlabel="risk at GD's minimum", ylabel="risk at SGD's minimum")
    axes[2].set_title("… for better ones: a dot a seed")
    axes[2].legend()
    return fig


study = Study(
    experiment,
    arms={
        "SGD": {},
        "SGD, batch 4": {"batch": 4.0},
        "GD": {"batch": lambda settings: float(settings["examples"])},
    },
    requires=[
        Check(
            "converged",
            "at the largest rate SGD and GD reach a global minimum",
            lambda arms: arms["SGD"].train_loss.isel(rate=-1) + arms["GD"].train_loss.isel(rate=-1),
            at_most(1e-4),
            because="stability is a property of minima; the loss starts near 2.5",
        ),
        Check(
            "hessian",
            "trace, Frobenius norm and largest eigenvalue from the gradients are the explicit Hessian's",
            lambda arms: arms["SGD"].hessian_gap.max("rate"),
            at_most(0.05),
            because="at a global minimum the Hessian is the mean of the gradients' squares",
        ),
    ],
    checks=[
        Check(
            "trace-bound",
            "at the largest rate SGD ends where η tr(H)/2 ≤ 1",
            at_the_largest_rate("trace_ratio"),
            at_most(1),
            control={"SGD": "GD"},
            because="necessary for mean-square stability of single-example SGD",
        ),
        Check(
            "threshold-bound",
            "the exact stability limit of that minimum is 0.5 to 1 times the trace bound 2/tr(H)",
            at_the_largest_rate("threshold_ratio"),
            between(0.5, 1),
            control={"SGD": "GD"},
            because="1 is a theorem; a half says that the trace is the right size to look at",
        ),
        Check(
            "better-minimum",
            "GD's parameter error is at least 1.3 times SGD's",
            risk_ratio(-1),
            at_least(1.3),
            control=risk_ratio(0),
            because="tr(H) is an l1-like norm of the predictor, and the target is sparse",
        ),
        Check(
            "escape",
            "kicked by 0.001, single-example SGD leaves the minimum that GD found",
            lambda arms: arms["GD"].left.isel(rate=-1),
            at_least(0.9),
            control={"GD": "SGD"},
            basis="pilot",
            because="η is there four times the mean-square limit, and below it at SGD's own minimum",
        ),
    ],
    reports=[
        Report(
            "sharpness", "η λ_max(H)/2 where GD ends", lambda arms: arms["GD"].sharpness_ratio.isel(rate=-1)
        ),
        Report(
            "weighted-bound",
            "batch 4: η over its own p-weighted bound",
            lambda arms: arms["SGD, batch 4"].bound_ratio.isel(rate=-1),
        ),
        Report(
            "mean-square",
            "SGD: η over the exact mean-square limit",
            lambda arms: arms["SGD"].limit_ratio.isel(rate=-1),
        ),
    ],
    dims=dict.fromkeys(("trace_curve", "largest_curve"), ("time",)),
    coords={"time": lambda s: list(range(0, s["steps"], s["every"]))},
    data=load,
    seeds=32,
    pilot_seeds=range(8),
    full={
        "network": "relu",
        "examples": 100,
        "rate": np.geomspace(0.005, 0.1, 12),
        "steps": 50_000,
        "every": 1_000,
        "seeds": 16,
    },
    figure=figure,
)
