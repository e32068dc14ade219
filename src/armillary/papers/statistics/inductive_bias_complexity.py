"""Model-agnostic Measure of Generalization Difficulty (2023).

Claim: the bits of inductive bias needed to reach a given test error grow exponentially with the data's intrinsic dimension and
polynomially with the resolution required. They do not depend on the dimension in which the data are embedded.
Control: functions of one coordinate alone, in as many dimensions; for the embedding, the ambient dimension in the place of the
intrinsic one.
Scope: functions on a torus of up to five dimensions with Fourier modes up to frequency 6, fitted to three points; so few
because the smallest class has 25 modes. The error is that on 2,000 test points, above the smoothest function that fits. For
real tables and images the dimension is estimated, and the bits follow from it. ImageNet, Omniglot and control tasks are not
here.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import digits, mnist, table
from armillary.lab import Check, Report, Study, at_most, between
from armillary.measure import inductive_bias_bits, intrinsic_dimension, weighted_chi2_log_cdf
from armillary.measure.eigen import eigvalsh, solve_positive

ERROR = 0.05
DIMENSIONS = (2, 3, 4, 5)
RESOLUTIONS = (2, 3, 4, 5, 6)
SMALL = ((1, 2), (1, 3), (1, 4), (2, 1))
"""Dimension and resolution of classes so small that a good function is found by chance."""
SETS = ("digits", "MNIST", "iris", "wine", "breast cancer")


def load():
    sets = (digits(), (mnist(14)[0][:2000],), table("iris"), table("wine"), table("breast_cancer"))
    return {name: x for name, (x, *_) in zip(SETS, sets, strict=True)}


def modes(x, resolution):
    """All (2·resolution + 1)^dim real Fourier modes at points of the torus, each of mean square 1."""
    dim = x.shape[1]
    every = itertools.product(range(-resolution, resolution + 1), repeat=dim)
    half = np.array([k for k in every if k > (0,) * dim]).reshape(-1, dim)
    phase = x @ half.T
    return jnp.concatenate(
        [jnp.ones((len(x), 1)), jnp.sqrt(2) * jnp.cos(phase), jnp.sqrt(2) * jnp.sin(phase)], 1
    )


def unfitted(test, train):
    """What of the functions at the test points the training points leave open, a column a coefficient."""
    fit = solve_positive(train @ train.T, train)
    return (test - (test @ train.T) @ fit) / np.sqrt(test.shape[1])


def bits(test, train):
    """−log₂ of the share of the fitting functions whose mean squared error on the test points is at most ERROR."""
    left = unfitted(test, train)
    gram = left @ left.T if left.shape[0] < left.shape[1] else left.T @ left
    weights = jnp.maximum(eigvalsh(gram / len(test)), 0.0)
    return -weighted_chi2_log_cdf(weights, ERROR) / jnp.log(2.0)


def experiment(key, data, *, examples=3, tests=2000, samples=200_000, ambient=50):
    k_test, k_train, k_sample, k_rotation = jax.random.split(key, 4)
    angle = lambda key, n: jax.random.uniform(key, (n, max(DIMENSIONS)), maxval=2 * jnp.pi)
    test, train = angle(k_test, tests), angle(k_train, examples)
    features = lambda dim, m: (modes(test[:, :dim], m), modes(train[:, :dim], m))
    of_dimension = [bits(*features(dim, 2)) for dim in DIMENSIONS]
    of_resolution = [of_dimension[0], *(bits(*features(2, m)) for m in RESOLUTIONS[1:])]
    # The class of the control, whatever the dimension: 2·2 + 1 modes of the first coordinate.
    one = bits(*features(1, 2))

    def sampled(dim, m, key):
        left = unfitted(*features(dim, m))
        drawn = jax.random.normal(key, (samples, left.shape[1]))
        error = jnp.sum((drawn @ (left.T @ left / tests)) * drawn, 1)
        return -jnp.log2(jnp.mean(error <= ERROR))

    small = jnp.stack([bits(*features(dim, m)) for dim, m in SMALL])
    chance = jnp.stack(
        [sampled(dim, m, k) for (dim, m), k in zip(SMALL, jax.random.split(k_sample, len(SMALL)))]
    )

    # The flat torus of three dimensions, turned anyhow into 50.
    circle = jnp.concatenate([jnp.cos(test[:, :3]), jnp.sin(test[:, :3])], 1)
    turn = jnp.linalg.qr(jax.random.normal(k_rotation, (ambient, 6)))[0]
    found = intrinsic_dimension(circle @ turn.T)[0]
    estimate = lambda dim: inductive_bias_bits(dim, examples, error=ERROR)
    real = jnp.stack([intrinsic_dimension(data[name])[0] for name in SETS])
    return {
        "bits": jnp.stack(of_dimension),
        "one_coordinate": jnp.full(len(DIMENSIONS), one),
        "resolved": jnp.stack(of_resolution),
        "saddle_error": jnp.max(abs(small - chance)),
        "dimension": found,
        "ambient_change": abs(estimate(found) / of_dimension[1] - 1),
        "ambient_taken": abs(estimate(float(ambient)) / of_dimension[1] - 1),
        "real_dimension": real,
        "real_log_bits": jnp.log2(estimate(real)),
    }


def growth(measurement):
    """Slope of log₂(bits) over the dimension."""

    def value(arms):
        y = np.log2(arms["torus"][measurement].transpose("dim", "seed"))
        return np.polyfit(DIMENSIONS, y, 1)[0]

    value.__name__ = "one coordinate" if measurement == "one_coordinate" else measurement
    return value


def power(arms):
    y = np.log(arms["torus"].resolved.transpose("resolution", "seed"))
    return np.polyfit(np.log(2 * np.array(RESOLUTIONS) + 1), y, 1)[0] / 2


def change(measurement):
    value = lambda arms: arms["torus"][measurement]
    value.__name__ = "the ambient dimension" if measurement == "ambient_taken" else measurement
    return value


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(13.5, 4), layout="constrained")
    run = arms["torus"]
    left.plot(DIMENSIONS, run.bits.T, "o", color="C0", ms=5)
    left.plot(DIMENSIONS, run.bits.mean("seed"), "-", color="C0", label="all functions")
    left.plot(DIMENSIONS, run.one_coordinate.T, "o", color="C3", ms=5)
    left.plot(
        DIMENSIONS, run.one_coordinate.mean("seed"), "-", color="C3", label="functions of one coordinate"
    )
    left.plot(DIMENSIONS, 1.476 * 5.0 ** np.array(DIMENSIONS), "k:", label="1.48 bits a mode, 5ᵈ modes")
    left.set(
        yscale="log",
        xlabel="intrinsic dimension d",
        ylabel="bits of inductive bias",
        title="Exponential in the dimension",
    )
    left.set_xticks(DIMENSIONS)
    left.legend(frameon=False, fontsize=9)
    middle.plot(RESOLUTIONS, run.resolved.T, "o", color="C0", ms=5)
    m = np.array(RESOLUTIONS)
    middle.plot(m, 1.476 * (2.0 * m + 1) ** 2, "k:", label="1.48 bits a mode, (2M + 1)² modes")
    middle.set(
        xscale="log",
        yscale="log",
        xlabel="resolution M, on two dimensions",
        title="Polynomial in the resolution",
    )
    middle.set_xticks(RESOLUTIONS, [str(i) for i in RESOLUTIONS])
    middle.set_yticks([30, 100, 250], ["30", "100", "250"])
    middle.minorticks_off()
    middle.legend(frameon=False, fontsize=9)
    dims, height = run.real_dimension[0].values, run.real_log_bits[0].values
    order = np.argsort(dims)
    right.barh(range(len(SETS)), height[order] * np.log10(2), color="C0")
    right.set_yticks(range(len(SETS)), [SETS[i] for i in order])
    for place, i in enumerate(order):
        right.text(height[i] * np.log10(2), place, f" d = {dims[i]:.1f}", va="center", fontsize=9)
    right.set(
        xlabel="log₁₀ bits, M = 2, given three examples",
        title="Real data",
        xlim=(0, 1.25 * height.max() * np.log10(2)),
    )
    return fig


study = Study(
    experiment,
    data=load,
    arms={"torus": {}},
    requires=[
        Check(
            "polynomial",
            "power of 2M + 1 in the bits on two dimensions, M from 2 to 6, over 2",
            power,
            between(0.8, 1.5),
            because="(2M+1)² − 3 free modes, each worth as many bits",
        ),
    ],
    checks=[
        Check(
            "exponential",
            "slope of log₂(bits) over the dimension, from 2 to 5",
            growth("bits"),
            between(1.8, 3.0),
            control=growth("one_coordinate"),
            because="log₂(2M+1) = 2.32; steeper for the three modes that are fitted, flatter for 2,000 tests of 3,122 modes",
        ),
        Check(
            "ambient-free",
            "relative change of the bits if their dimension is estimated from 2,000 points of the torus in 50 dimensions",
            change("ambient_change"),
            at_most(0.3),
            control=change("ambient_taken"),
            because="an error of 0.1 in the dimension changes 5³ modes by 17%",
        ),
    ],
    reports=[
        Report(
            "dimension",
            "the estimated dimension of the three-dimensional torus",
            lambda a: a["torus"].dimension,
        ),
        Report(
            "saddle-error",
            "bits by which saddle point and sampling differ, the worst of four small classes",
            lambda a: a["torus"].saddle_error,
        ),
    ],
    dims={
        **dict.fromkeys(("bits", "one_coordinate"), ("dim",)),
        "resolved": ("resolution",),
        **dict.fromkeys(("real_dimension", "real_log_bits"), ("set",)),
    },
    coords={"dim": DIMENSIONS, "resolution": RESOLUTIONS, "set": SETS},
    seeds=12,
    full={"tests": 20_000, "samples": 10_000_000},
    x64=True,
    figure=figure,
)
