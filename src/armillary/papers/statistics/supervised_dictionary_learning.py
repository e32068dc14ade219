"""Supervised Dictionary Learning with Auxiliary Covariates (2022).

Claim: when the lifted problem is well conditioned, low-rank projected gradient descent learns a supervised dictionary at a
geometric rate from any start. Supervision beats reconstructing first only where the directions that reconstruct the data differ
from those that predict the label.
Control: a ridge so weak that the problem's condition number is 100; the label on the top principal direction.
Scope: planted data of 20 inputs, two directions, binary labels and one covariate, in the filter form. Conditioning takes a
strong ridge, which shrinks how the inputs act on the label; accuracy is therefore measured on dictionaries fitted directly.
scikit-learn's breast cancer stands for the paper's job postings and X-rays, as reports.
"""

import jax
import jax.numpy as jnp
import numpy as np

from armillary.data import table
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure.eigen import spectral_norm
from armillary.represent import fit_supervised_dictionary
from armillary.train import low_rank_projected_gradient, supervised_dictionary_loss


def experiment(
    key,
    data,
    *,
    condition=1.6,
    aligned=0.0,
    inputs=20,
    examples=200,
    rank=2,
    iterations=200,
    reference=3000,
    starts=4,
    train=200,
    tests=2000,
):
    """`condition`: L/μ of the lifted problem; `aligned`: 1 puts the label on the first principal direction."""
    k_lifted, k_starts, k_accuracy, k_cancer = jax.random.split(key, 4)
    return {
        **descent(k_lifted, k_starts, condition, inputs, examples, rank, iterations, reference, starts),
        "accuracy": directions(k_accuracy, aligned, inputs, rank, train, tests),
        "cancer": cancer(k_cancer, data, rank),
    }


def descent(key, k_starts, condition, inputs, examples, rank, iterations, reference, starts):
    """Distance to the minimizer over the iterations of projected gradient descent on [a, B], from several starts."""
    k_w, k_h, k_noise, k_cov, k_label = jax.random.split(key, 5)
    w = jax.random.normal(k_w, (inputs, rank))
    h = jax.random.normal(k_h, (rank, examples))
    x = w @ h / jnp.sqrt(inputs) + 0.3 * jax.random.normal(k_noise, (inputs, examples))
    covariates = jax.random.normal(k_cov, (1, examples))
    chance = jax.nn.sigmoid(2 * h[0] - h[1] + covariates[0])
    labels = jax.random.bernoulli(k_label, chance).astype(x.dtype)

    # The label's block has curvature up to this, the ridge added; the reconstruction's has 2ξ exactly.
    smooth = spectral_norm(jnp.concatenate([x, covariates])) ** 2 / 4
    xi = smooth / 0.6 / 2
    ridge = jnp.where(condition < 2.5, smooth / (condition - 1), 2 * xi / condition) / 2
    rate = 1 / jnp.maximum(2 * xi, smooth + 2 * ridge)
    slope = jax.grad(lambda p: supervised_dictionary_loss(p, x, labels, covariates, xi=xi, ridge=ridge))

    def solve(start, steps):
        return low_rank_projected_gradient(
            slope,
            start,
            matrix=lambda p: p["lifted"],
            replace=lambda p, lifted: {**p, "lifted": lifted},
            rank=rank,
            rate=rate,
            steps=steps,
            record=lambda p: jnp.append(p["lifted"].ravel(), p["covariates"]),
        )

    def draw(key):
        lifted = jax.random.normal(key, (inputs, 1 + examples))
        return {"lifted": lifted, "covariates": jnp.zeros(1)}

    def one(key):
        end, path = solve(draw(key), iterations)
        return path, solve(end, reference)[0]

    path, ends = jax.vmap(one)(jax.random.split(k_starts, starts))
    flat = jnp.concatenate([ends["lifted"].reshape(starts, -1), ends["covariates"]], 1)
    size = jnp.linalg.norm(flat[0])
    distance = jnp.linalg.norm(path - flat[:, None], axis=2) / size
    log = jnp.log(distance)
    use = (distance > 1e-9).astype(float) / jnp.sum(distance > 1e-9, 1, keepdims=True)
    t = jnp.arange(iterations) - jnp.sum(use * jnp.arange(iterations), 1, keepdims=True)
    fitted = jnp.sum(use * t * log, 1) / jnp.sum(use * t**2, 1)
    return {
        "rate": jnp.exp(jnp.max(fitted)),
        "start_spread": jnp.max(jnp.linalg.norm(flat - flat[0], axis=1)) / size,
        "distance": jnp.max(distance, 0),
        # What the rank cuts off after a step from the minimizer: nothing, if the bound did not bind.
        "cut": cut(ends, slope, rate, rank),
    }


def cut(ends, slope, rate, rank):
    first = jax.tree.map(lambda leaf: leaf[0], ends)
    moved = first["lifted"] - rate * slope(first)["lifted"]
    values = jnp.linalg.svd(moved, compute_uv=False)
    return values[rank] / values[0]


def directions(key, aligned, inputs, rank, train, tests):
    """Test accuracies of a supervised dictionary, and of principal components with a logistic regression on them."""
    k_x, k_label, k_fit = jax.random.split(key, 3)
    scale = jnp.where(jnp.arange(inputs) < 2, 3.0, 0.3).at[2].set(1.0)
    x = scale * jax.random.normal(k_x, (train + tests, inputs))
    decides = jnp.where(aligned > 0, x[:, 0] / 3, x[:, 2])
    labels = (decides + 0.1 * jax.random.logistic(k_label, (train + tests,)) > 0).astype(x.dtype)
    return compare(k_fit, x, labels, jnp.ones((train + tests, 1)), rank, train)


def cancer(key, data, rank, train=300):
    k_order, k_fit = jax.random.split(key)
    x, labels = data
    order = jax.random.permutation(k_order, len(x))
    return compare(k_fit, jnp.asarray(x)[order], labels[order] * 1.0, jnp.ones((len(x), 1)), rank, train)


def compare(key, x, labels, covariates, rank, train):
    def score(xi):
        fitted = fit_supervised_dictionary(
            key, x[:train], labels[:train], covariates[:train], rank=rank, xi=xi, ridge=1e-3
        )
        said = fitted(x[train:], covariates[train:]) > 0
        return jnp.mean(said == (labels[train:] > 0.5))

    return jax.vmap(score)(jnp.array([0.01, 100.0], x.dtype))  # ξ = 100: principal components


def gain(arms):
    found = arms["well conditioned"].accuracy
    return found.sel(learner="supervised") - found.sel(learner="components")


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(11, 4.1), layout="constrained")
    for name, colour, label in (
        ("well conditioned", "C0", "L/μ = 1.6"),
        ("middling", "C2", "L/μ = 3"),
        ("badly conditioned", "C3", "L/μ = 100"),
    ):
        distance = np.maximum(arms[name].distance, 1e-15)
        left.plot(distance.T, color=colour, lw=0.8, alpha=0.6)
        left.plot([], [], color=colour, label=label)
    t = np.arange(80)
    left.plot(
        t,
        float(arms["well conditioned"].distance[:, 0].mean()) * 0.75**t,
        "k:",
        lw=2,
        label="theory for 1.6: 0.75ᵗ",
    )
    left.set(
        yscale="log", ylim=(1e-15, 100), xlabel="iteration", ylabel="distance to the minimizer, worst start"
    )
    left.set_title("A geometric rate, in spite of the bound on the rank")
    left.legend(frameon=False, fontsize=9, loc="upper right")
    groups = (
        ("low-variance\ndirection decides", arms["well conditioned"].accuracy),
        ("top direction\ndecides", arms["aligned"].accuracy),
        ("breast cancer", arms["well conditioned"].cancer),
    )
    for i, (_, values) in enumerate(groups):
        for j, (method, colour, label) in enumerate(
            (
                ("supervised", "C0", "supervised dictionary"),
                ("components", "C3", "principal components first"),
            )
        ):
            points = values.sel(learner=method)
            right.plot(
                i + 0.25 * (j - 0.5) + np.linspace(-0.06, 0.06, len(points)),
                points,
                "o",
                color=colour,
                label=None if i else label,
                alpha=0.7,
            )
    right.axhline(0.5, color="0.6", lw=1)
    right.set_xticks(range(3), [name for name, _ in groups])
    right.set(
        ylabel="test accuracy, two directions",
        ylim=(0.45, 1.02),
        title="Supervision pays where the two differ",
    )
    right.legend(frameon=False, fontsize=9, loc="center right")
    return fig


study = Study(
    experiment,
    data=lambda: table("breast_cancer"),
    arms={
        "well conditioned": {},
        "middling": {"condition": 3.0},
        "badly conditioned": {"condition": 100.0},
        "aligned": {"aligned": 1.0},
    },
    requires=[
        Check(
            "global",
            "largest distance between the ends of different starts, over their size",
            lambda arms: arms["well conditioned"].start_spread,
            at_most(1e-6),
            because="the lifted problem has one minimizer; this says that the descent arrived",
        ),
        Check(
            "rank-binds",
            "the first singular value that is cut off, over the largest, in a step from the minimizer",
            lambda arms: arms["well conditioned"].cut,
            at_least(0.01),
            basis="convention",
            because="else it is plain gradient descent on a strongly convex function",
        ),
    ],
    checks=[
        Check(
            "linear-rate",
            "factor by which an iteration shrinks the distance to the minimizer, down to 1e-9, the worst start",
            lambda arms: arms["well conditioned"].rate,
            at_most(0.75),
            control={"well conditioned": "badly conditioned"},
            because="2 (1 − μ/L) at L/μ = 1.6; at 100 the worst case without a bound on the rank is 0.99",
        ),
        Check(
            "supervision-pays",
            "test accuracy of the supervised dictionary minus that of principal components first",
            gain,
            at_least(0.1),
            control={"well conditioned": "aligned"},
            because="two components of three times the deviation leave out the one that decides: chance",
        ),
    ],
    reports=[
        Report(
            "middling", "the factor at L/μ = 3, where the theorem says nothing", lambda a: a["middling"].rate
        ),
        Report(
            "cancer",
            "test accuracy on breast cancer, supervised",
            lambda a: a["well conditioned"].cancer.sel(learner="supervised"),
        ),
        Report(
            "cancer-pca",
            "the same, principal components first",
            lambda a: a["well conditioned"].cancer.sel(learner="components"),
        ),
    ],
    dims={"distance": ("iteration",), **dict.fromkeys(("accuracy", "cancer"), ("learner",))},
    coords={"learner": ["supervised", "components"]},
    full={"inputs": 200, "examples": 2000, "rank": 10, "train": 2000, "tests": 20_000},
    x64=True,
    figure=figure,
)
