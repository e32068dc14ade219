"""Existence, Stability and Scalability of Orthogonal Convolutional Neural Networks (2021).

Claim: a penalty on the kernel alone is a circular convolution layer's squared distance from orthogonality per output
pixel. Minimizing it brings all singular values near one at every image size, provided that the layer has few enough
channels for its kernel.
Control: zeros in the place of circular padding, kernels and sizes unchanged; for the bound on channels, a larger kernel.
Scope: the geometry of six layers with random kernels, and of those minimized from them. What orthogonal layers do for a
network's accuracy and robustness is not measured.
Departures: a layer is minimized from four random starts and the best is kept. As many channels out as in, at stride 1, is
left out of the singular values: there most random starts end at a local minimum; the share that does not is reported.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.lab import Check, Report, Study, at_most, between
from armillary.losses import orthogonal_conv
from armillary.measure import conv_matrix, conv_singular_values
from armillary.train import fit

SHOWN = 200


def experiment(
    key, *, out=8, into=4, kernel=3, stride=1, sizes=(12, 24, 48), starts=4, adam=500, lbfgs=1000, rate=0.03
):
    channels = min(
        out, into * stride**2
    )  # the singular values a frequency: rows or columns, whichever are fewer

    def defect(values):
        return jnp.sum((values**2 - 1) ** 2)

    def squared_distance(matrix):
        small = matrix @ matrix.T if out <= into * stride**2 else matrix.T @ matrix
        return jnp.sum((small - jnp.eye(len(small))) ** 2)

    def minimize(key):
        start = jax.random.normal(key, (out, into, kernel, kernel))
        start = start * jnp.sqrt(channels / start.size)  # as large as an orthogonal one
        loss = lambda k, _: orthogonal_conv(k, stride)
        first = optax.adam(optax.cosine_decay_schedule(rate, adam))
        near = fit(loss, start, None, first, steps=adam, every=adam // 50)
        end = fit(loss, near.params, None, optax.lbfgs(1.0, linesearch=None), steps=lbfgs, every=lbfgs // 50)
        return start, end.params, jnp.append(near.loss, end.loss)

    start, end, loss = jax.vmap(minimize)(jax.random.split(key, starts))
    penalty = jax.vmap(lambda k: orthogonal_conv(k, stride))(end)
    best = jnp.argmin(penalty)
    values = [conv_singular_values(end[best], size, stride) for size in sizes]
    spread = jnp.array([v[0] - v[-1] for v in values])

    kernel = start[0]
    expected = orthogonal_conv(kernel, stride)
    pixels = [(size // stride) ** 2 for size in sizes]
    # The smallest image by its matrix, larger ones by their Fourier blocks.
    distance = [squared_distance(conv_matrix(kernel, sizes[0], stride))]
    distance += [defect(conv_singular_values(kernel, size, stride)) for size in sizes[1:]]
    padded = squared_distance(conv_matrix(kernel, sizes[0], stride, "zero"))
    zero = conv_singular_values(end[best], sizes[0], stride, "zero")
    sample = lambda v: jnp.interp(jnp.linspace(0, 1, SHOWN), jnp.linspace(0, 1, len(v)), v)
    spectra = [conv_singular_values(kernel, sizes[0], stride), values[0], values[-1], zero]
    return {
        "identity_error": jnp.max(
            jnp.array([abs(d - n * expected) / d for d, n in zip(distance, pixels, strict=True)])
        ),
        "zero_identity_error": abs(padded - pixels[0] * expected) / padded,
        "penalty": penalty[best],
        "reached": jnp.mean(penalty < 1e-6),
        "spread": jnp.max(spread),
        "size_drift": abs(spread[-1] - spread[0]),
        "zero_spread": zero[0] - zero[-1],
        "spectra": jnp.array([sample(v) for v in spectra]),
        "descent": loss[best],
    }


SHAPES = [(8, 8, 3, 1), (8, 4, 3, 1), (4, 8, 3, 1), (16, 4, 3, 2), (8, 4, 3, 2), (12, 4, 5, 2)]
named = lambda out, into, kernel, stride: {"out": out, "into": into, "kernel": kernel, "stride": stride}
title = lambda out, into, kernel, stride: f"{into} to {out}, {kernel}x{kernel}, stride {stride}"
SQUARE, *OTHERS = [title(*shape) for shape in SHAPES]
TOO_MANY, ENOUGH = title(40, 4, 3, 4), title(40, 4, 5, 4)


def over(names, take, measurement):
    def value(arms):
        return take([arms[name][measurement] for name in names], 0)

    value.__name__ = "zero padding" if measurement.startswith("zero") else measurement
    return value


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    share = np.linspace(0, 1, SHOWN)
    arm = arms[title(8, 4, 3, 1)]
    sizes = (12, 24, 48)
    lines = (
        ("random kernel, circular", "0.6", "-", 2),
        (f"minimized, circular, {sizes[0]} x {sizes[0]}", "C0", "-", 5),
        (f"minimized, circular, {sizes[-1]} x {sizes[-1]}", "C9", "--", 2),
        ("minimized, padded with zeros", "C3", "-", 2),
    )
    for values, (label, colour, style, width) in zip(arm.spectra[0].values, lines, strict=True):
        left.plot(share, values, style, color=colour, lw=width, label=label)
    left.set(
        xlabel="singular values, the largest first (share of all)", ylabel="singular value", ylim=(0, None)
    )
    left.set_title("Orthogonal at every image size,\nbut not for another padding")
    left.legend(frameon=False, fontsize=9)
    colours = {SQUARE: "C4", TOO_MANY: "C3", ENOUGH: "C0"}
    for name in [*OTHERS, SQUARE, ENOUGH, TOO_MANY]:
        curves = np.maximum(arms[name].descent.values, 1e-12)
        for i, curve in enumerate(curves):
            words = name if name in colours else "five other layers" if name == OTHERS[0] else None
            right.plot(curve, color=colours.get(name, "0.75"), lw=1, label=None if i else words)
    right.axhline(4, color="k", ls=":", lw=1.5)
    right.text(99, 4.6, "40 − 36 = 4", ha="right", va="bottom")
    right.set_xticks([0, 50, 99], ["0", "500\nAdam | L-BFGS", "1500"])
    right.set(yscale="log", ylim=(3e-13, 300), xlabel="step, the best of the starts", ylabel="penalty")
    right.set_title("36 kernel entries cannot make 40 orthogonal channels")
    right.legend(frameon=False, fontsize=9, loc="lower left")
    return fig


study = Study(
    experiment,
    arms={title(*shape): named(*shape) for shape in [*SHAPES, (40, 4, 3, 4), (40, 4, 5, 4)]},
    checks=[
        Check(
            "frobenius-identity",
            "relative difference of the layer's squared distance and the penalty times its output pixels, the worst of"
            " six layers and three sizes",
            over([SQUARE, *OTHERS], np.max, "identity_error"),
            at_most(1e-6),
            control=over([SQUARE, *OTHERS], np.min, "zero_identity_error"),
            because="an identity (theorem 2), here between a kernel's correlations and the singular values of its layer",
        ),
        Check(
            "isometric",
            "largest less smallest singular value after minimizing, the worst of five layers and three sizes",
            over(OTHERS, np.max, "spread"),
            at_most(1e-3),
            control=over(OTHERS, np.min, "zero_spread"),
            because="a penalty L keeps σ² within √L of 1 up to a factor that does not grow with the image",
        ),
        Check(
            "existence-bound",
            "least penalty of 40 channels out of 4, 3x3, stride 4",
            lambda arms: arms[TOO_MANY].penalty,
            between(3.99, 4.01),
            control={TOO_MANY: ENOUGH},
            because="KKᵀ of rank 36 is at best a projection of that rank: ‖KKᵀ − I‖² = 40 − 36",
        ),
    ],
    reports=[
        Report(
            "square",
            "share of random starts that end at an orthogonal layer, 8 to 8 channels at stride 1",
            lambda arms: arms[SQUARE].reached,
        ),
        Report(
            "others",
            "the same share, the least of the five other layers",
            over(OTHERS, np.min, "reached"),
        ),
        Report(
            "size-drift",
            "the spread's change from the smallest to the largest image",
            over(OTHERS, np.max, "size_drift"),
        ),
    ],
    dims={"spectra": ("layer", "share"), "descent": ("point",)},
    coords={"layer": ["random", "small", "large", "zero"]},
    full={"sizes": (12, 48, 192), "starts": 64, "adam": 5000, "lbfgs": 10_000},
    x64=True,
    figure=figure,
)
