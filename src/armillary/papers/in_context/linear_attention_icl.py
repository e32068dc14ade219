"""Trained Transformers Learn Linear Models In-Context (2023).

Claim: from a small balanced start, training one layer of linear self-attention on random regression prompts reaches
the global minimum in spite of non-convexity: the layer predicts x_qᵀ G⁻¹ (1/M) Σᵢ yᵢxᵢ with the closed-form
G = (1 + 1/N)Λ + tr(Λ)/N I. That predictor keeps its relative risk when the weights are doubled, and does worse than
predicting zero when the covariates are.
Control: the start is zero, a saddle of the loss; and the factor 2 changes place between weights and covariates.
Scope: one layer, one covariance for all prompts. All of the layer's weights are trained, in three ways: gradient
flow (the theorem's) and Adam on the exact population risk, and Adam on sampled prompts.
"""

from typing import Literal

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import linear_regression_prompts
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import (
    linear_attention_layer_risk,
    linear_attention_optimum,
    linear_attention_risk,
)
from armillary.nn import LinearAttention
from armillary.train import fit

LENGTHS = (5, 20, 80, 320)
POINTS = 20


def experiment(
    key,
    *,
    spectrum=(1.0, 1.0, 0.5, 0.25, 0.25),
    start=0.5,
    length=20,
    training: Literal["flow", "risk", "prompts"] = "flow",
    time=200.0,
    batch=128,
    steps=1000,
    rate=0.02,
    prompts=5000,
):
    """`start`: σ of the balanced start; below σ²‖G‖√d = 2 (here 0.86) the flow's convergence is proved.

    `training`: gradient flow on the exact risk, or Adam on it, or Adam on prompts.
    """
    k_start, k_train, k_test = jax.random.split(key, 3)
    dim, covariance = len(spectrum), jnp.array(spectrum)
    optimum, least = linear_attention_optimum(covariance, length)
    power = covariance.sum()
    root = jax.random.normal(k_start, (dim, dim))
    block = start * root @ root.T / jnp.linalg.norm(root @ root.T)
    layer = LinearAttention.from_blocks(jnp.asarray(start), block, attend_query=True)

    def risk(layer, covariance, length=length, tasks=None):
        return linear_attention_layer_risk(
            layer.value, layer.key_query, covariance, length, tasks, attend_query=1 / length
        )

    def draw(key, count=batch, length=length):
        return linear_regression_prompts(key, count, length, covariance)

    def sampled_risk(layer, prompts):
        return jnp.mean((layer(prompts.x, prompts.y, prompts.query) - prompts.target) ** 2)

    if training == "flow":
        flow = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda t, layer, law: jax.tree.map(jnp.negative, jax.grad(risk)(layer, law))),
            diffrax.Tsit5(),
            t0=0.0,
            t1=time,
            dt0=0.01,
            y0=layer,
            args=covariance,
            stepsize_controller=diffrax.PIDController(rtol=1e-5, atol=1e-7),
            saveat=diffrax.SaveAt(ts=jnp.linspace(0, 1, 101) ** 2 * time),
        )
        layer = jax.tree.map(lambda w: w[-1], flow.ys)
        curve = jax.vmap(lambda layer: risk(layer, covariance))(flow.ys)
    else:
        loss, data = (risk, covariance) if training == "risk" else (sampled_risk, draw)
        optimizer = optax.adam(optax.cosine_decay_schedule(rate, steps))
        run = fit(
            loss,
            layer,
            data,
            optimizer,
            steps=steps,
            key=k_train,
            every=steps // POINTS,
            record=lambda layer: risk(layer, covariance),
        )
        layer, curve = run.params, run.record

    lengths = (length, *LENGTHS)
    test = draw(k_test, prompts, max(lengths)) if training == "prompts" else None

    def shifted(weights, inputs):
        """The layer's risk over E y² with weights and inputs multiplied so, at all lengths: exact, or on prompts."""
        scale = weights * inputs
        if test is None:
            law = inputs**2 * covariance, weights**2 * jnp.ones(dim)
            at = jax.vmap(lambda m: risk(layer, law[0], m, law[1]))(jnp.array(lengths))
            return at / (scale**2 * power)
        x, y, query, target = inputs * test.x, scale * test.y, inputs * test.query, scale * test.target
        errors = jnp.stack([layer(x[:, :m], y[:, :m], query) - target for m in lengths])
        return jnp.mean(errors**2, (1, 2)) / jnp.mean(target**2)

    plain, weights_doubled, inputs_doubled = shifted(1.0, 1.0), shifted(2.0, 1.0), shifted(1.0, 2.0)
    theory = lambda scale: jnp.stack(
        [linear_attention_risk(optimum, scale * covariance, m) / (scale * power) for m in LENGTHS]
    )
    return {
        "matrix_error": jnp.linalg.norm(layer.step - optimum) / jnp.linalg.norm(optimum),
        "excess": (risk(layer, covariance) - least) / power,
        "task_ratio": weights_doubled[0],
        "covariate_ratio": inputs_doubled[0],
        "matrix": layer.step,
        "optimum": optimum,
        "excess_curve": (curve - least) / power,
        "risk": plain[1:],
        "risk_doubled": inputs_doubled[1:],
        "risk_theory": theory(1.0),
        "risk_doubled_theory": theory(4.0),
    }


def covariates_doubled_instead(arms):
    return arms["gradient flow"].covariate_ratio


def weights_doubled_instead(arms):
    return arms["gradient flow"].task_ratio


def training_gap(arms):
    exact, sampled = (arms[f"Adam on {name}"].matrix for name in ("the risk", "prompts"))
    return np.linalg.norm(sampled - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))


def figure(arms):
    import matplotlib.pyplot as plt

    flow, zero, prompts = (arms[name] for name in ("gradient flow", "zero start", "Adam on prompts"))
    fig, axes = plt.subplots(1, 3, figsize=(12, 3.7), layout="constrained")
    axes[0].plot(flow.point, flow.excess_curve.T, color="C0", lw=0.8)
    axes[0].plot(zero.point, zero.excess_curve.T, color="C3", lw=0.8)
    axes[0].plot([], [], color="C0", label="balanced start, a line a seed")
    axes[0].plot([], [], color="C3", label="zero start (control)")
    axes[0].set(xscale="symlog", yscale="log", ylim=(1e-6, 2), xlabel="time of the gradient flow")
    axes[0].set(ylabel="excess risk / E y²", title="Gradient flow reaches the global minimum …")
    axes[1].axline((0, 0), slope=1, color="k", lw=0.8)
    for run, style, label in (
        (prompts, {"marker": "o", "ms": 5, "color": "C9", "alpha": 0.4}, "Adam on prompts"),
        (flow, {"marker": ".", "ms": 4, "color": "C0"}, "gradient flow"),
        (zero, {"marker": "x", "ms": 4, "color": "C3"}, "zero start (control)"),
    ):
        axes[1].plot(run.optimum.values.ravel(), run.matrix.values.ravel(), ls="", label=label, **style)
    axes[1].set(xlabel="entry of G⁻¹", ylabel="entry of the trained layer's matrix")
    axes[1].set_title("… the layer with G⁻¹ …")
    for colour, name, label in (
        ("C0", "risk", "no shift, or w doubled"),
        ("C1", "risk_doubled", "x doubled"),
    ):
        axes[2].plot(LENGTHS, prompts[f"{name}_theory"][0], "-", color=colour, label=label)
        axes[2].plot(LENGTHS, prompts[name].T, "o", ms=4, alpha=0.4, color=colour)
    axes[2].axhline(1, color="k", lw=0.8, ls="--")
    axes[2].text(LENGTHS[-1], 0.93, "predicting zero", fontsize=8, ha="right", va="top")
    axes[2].set(xscale="log", yscale="log", xlabel="prompt length M")
    axes[2].set_ylabel("risk / E y²; line: closed form, dots: prompts")
    axes[2].set_title("… which a shift of the covariates breaks")
    for ax, place in zip(axes, ("lower left", "upper left", (0.3, 0.6))):
        ax.legend(loc=place)
    return fig


OTHERWISE = [{"gradient flow": "Adam on the risk"}, {"gradient flow": "Adam on prompts"}]

study = Study(
    experiment,
    arms={
        "gradient flow": {},
        "zero start": {"start": 0.0},
        "Adam on the risk": {"training": "risk"},
        "Adam on prompts": {"training": "prompts"},
    },
    checks=[
        Check(
            "minimizer",
            "the trained layer's matrix is G⁻¹",
            lambda arms: arms["gradient flow"].matrix_error,
            at_most(0.05),
            control={"gradient flow": "zero start"},
            holds_under=OTHERWISE,
            because="theorem; 0.05 is room for Adam's sampling noise. G⁻¹ is 0.4 away from any multiple of I",
        ),
        Check(
            "flow",
            "training ends at the closed-form minimum of the risk",
            lambda arms: arms["gradient flow"].excess,
            at_most(0.01),
            control={"gradient flow": "zero start"},
            holds_under=OTHERWISE,
            because="theorem: global convergence in spite of non-convexity. At the saddle it is (3 - 0.66)/3 = 0.78",
        ),
        Check(
            "tolerates-task-shift",
            "with the weights doubled the risk stays below a quarter of E y²",
            lambda arms: arms["gradient flow"].task_ratio,
            at_most(0.25),
            control=covariates_doubled_instead,
            holds_under=OTHERWISE,
            because="closed form: 0.660/3 = 0.22, whatever the size of w",
        ),
        Check(
            "breaks-on-covariates",
            "with the covariates doubled it is worse than predicting zero",
            lambda arms: arms["gradient flow"].covariate_ratio,
            at_least(1.0),
            control=weights_doubled_instead,
            holds_under=OTHERWISE,
            because="closed form: a ratio of 7.2; along every leading axis the bias alone exceeds 1",
        ),
    ],
    reports=[
        Report(
            "closed-form-gap",
            "largest relative gap of the risk on prompts and the closed-form one over four prompt lengths",
            lambda arms: abs(arms["Adam on prompts"].risk / arms["Adam on prompts"].risk_theory - 1).max(
                "length_m"
            ),
        ),
        Report(
            "training",
            "‖M after Adam on prompts - M after Adam on the risk‖ over the latter's norm",
            training_gap,
        ),
    ],
    dims={
        **dict.fromkeys(("matrix", "optimum"), ("row", "column")),
        **dict.fromkeys(("risk", "risk_doubled", "risk_theory", "risk_doubled_theory"), ("length_m",)),
        "excess_curve": ("point",),
    },
    coords={
        "length_m": LENGTHS,
        "point": lambda s: (
            [(i / 100) ** 2 * s["time"] for i in range(101)]
            if s["training"] == "flow"
            else range(0, s["steps"], s["steps"] // POINTS)
        ),
    },
    full={
        "spectrum": tuple([1.0] * 5 + [0.5] * 5 + [0.25] * 10),
        "length": 80,  # closed-form risk 0.20 of E y²; 0.47 at 20, where the bound on the shift would not hold
        "batch": 1024,
        "steps": 30_000,
        "time": 2000.0,
    },
    figure=figure,
)
