"""Landscaping Linear Mode Connectivity (2024).

Claim: the barrier between two runs with a shared trunk is the Green-weighted negative curvature on the segment
between them; that curvature is a ridge between two valleys if they part at the start; parting after a third of
training lowers the barrier at least five-fold; and the curvature of one layer at one point predicts what moving
that layer alone does.
Control: the Gauss-Newton part of the curvature alone, without the network's own; early and late parting exchanged;
in place of the layer's displacement a random direction of the same length in the same layer.
Scope: an MLP 196-64-64-64-10 with tanh (with ReLU the identity fails: kinks are not in the Hessian) on 1,000 MNIST
images of 14x14, loss on all of them. The identity is exact calculus, the paper's second-order analysis without its
remainder: that it holds is no finding, that the Gauss-Newton part misses it is. Late barriers are 0 and count as the
specification's floor of 0.001 nats, so that "five-fold" says early ones are above 0.005. Single layers have no
barriers here (each moves in a bowl); checked is only that curvature predicts how far below the chord they pass.
ResNets and the paper's bound are left out.
Departures: the identity is a check and not a precondition, since it has a control. Batches are drawn with
replacement. 16 seeds instead of 8: on seeds 0 to 7 late-parting's interval was too wide to decide; these are
skipped. All thresholds are the specification's.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import mnist
from armillary.lab import Check, Report, Study, at_most, between
from armillary.measure import (
    bezier_barrier,
    cross_entropy,
    directional_curvature,
    green_barrier,
    green_function,
    line_point,
    path_curvature,
)
from armillary.merge import permutation_symmetry, permute, weight_matching
from armillary.nn import MLP
from armillary.train import fit

PARTINGS = {"0": 0.0, "1/30": 1 / 30, "1/10": 1 / 10, "1/3": 1 / 3}


def load() -> tuple[np.ndarray, np.ndarray]:
    return mnist(14)  # type: ignore[return-value]


def model(net, batch):
    return net(batch[0])


def objective(logits, batch):
    return cross_entropy(logits, batch[1])


def loss(net, batch):
    return objective(model(net, batch), batch)


class Taken(NamedTuple):
    """Steps taken."""

    steps: jax.Array


def part_at(step):
    """Of two stacked networks the second gets the first's gradients until `step`: one trunk, then two branches."""

    def update(grads, state, params=None):
        trunk = state.steps < step
        return jax.tree.map(lambda g: jnp.where(trunk, g[:1], g), grads), Taken(state.steps + 1)

    return optax.GradientTransformation(lambda _: Taken(jnp.zeros((), int)), update)


def experiment(
    key,
    data,
    *,
    parting=0.0,
    independent=0.0,
    matched=0.0,
    length=1.0,
    activation: Literal["tanh", "relu"] = "tanh",
    hidden=(64, 64, 64),
    train=1000,
    steps=600,
    rate=0.1,
    momentum=0.9,
    batch=32,
    points=33,
    bending=0,
):
    draw_key, init_key, other_key, batch_key, random_key, bend_key = jax.random.split(key, 6)
    rows = jax.random.permutation(draw_key, len(data[0]))[:train]
    whole = tuple(a[rows] for a in data)

    bent = {"tanh": jnp.tanh, "relu": jax.nn.relu}[activation]
    new = lambda key: MLP((data[0].shape[1], *hidden, 10), key, activation=bent)
    keys = jnp.stack([init_key, jnp.where(independent > 0.5, other_key, init_key)])
    pair = jax.vmap(new)(keys)

    def draw(key):
        chosen = jax.random.randint(key, (2, batch), 0, train)
        return tuple(a[chosen] for a in whole)

    last = length * steps
    schedule = lambda step: rate * jnp.clip((last - step) / (last / 2), 0, 1)
    optimizer = optax.chain(part_at(jnp.round(parting * steps)), optax.sgd(schedule, momentum))
    both = lambda pair, batch: jax.vmap(loss)(pair, batch).sum()
    pair = fit(both, pair, draw, optimizer, steps=steps, key=batch_key, every=steps).params
    a, b = (jax.tree.map(lambda w, i=i: w[i], pair) for i in (0, 1))

    # Without a sweep nothing is permuted.
    symmetry = permutation_symmetry(lambda net, x: net(x), a, whole[0])
    sweeps = jnp.where(matched > 0.5, 20, 0)
    b = permute(symmetry, b, weight_matching(symmetry, a, b, sweeps=sweeps).permutations)

    delta = jax.tree.map(jnp.subtract, b, a)
    path = path_curvature(model, objective, a, b, whole, points=points)
    noise = optax.tree.random_like(random_key, a)

    def one_layer(layer):
        only = lambda tree: jax.tree_util.tree_map_with_path(
            lambda path, w: w * (path[-1].idx == layer), tree
        )
        moved, off = only(delta), only(noise)
        scale = optax.tree.norm(moved) / optax.tree.norm(off)
        end = jax.tree.map(jnp.add, a, moved)
        directions = jax.tree.map(lambda m, o: jnp.stack([m, scale * o]), moved, off)
        middle = jax.lax.map(
            lambda d: directional_curvature(model, objective, line_point(a, end, 0.5), d, whole), directions
        )
        # A constant curvature c along the segment lifts its middle by -c/8 above the chord.
        predicted = -middle.hessian / 8
        return middle.loss[0] - (path.loss[0] + loss(end, whole)) / 2, predicted[0], predicted[1]

    layers = jax.lax.map(one_layer, jnp.arange(len(hidden) + 1))
    curve = jnp.full(11, jnp.nan)
    if bending:
        adam = optax.adam(optax.cosine_decay_schedule(0.01, bending))
        curve = bezier_barrier(
            loss, a, b, whole, key=bend_key, steps=bending, draws=2, points=11, optimizer=adam
        ).losses
    return {
        "profile": path.loss,
        "curvature": path.hessian,
        "gauss_newton": path.gauss_newton,
        "height": path.loss[points // 2] - (path.loss[0] + path.loss[-1]) / 2,
        "green": green_barrier(path.hessian),
        "green_gauss_newton": green_barrier(path.gauss_newton),
        "layer_height": layers[0],
        "layer_predicted": layers[1],
        "layer_random": layers[2],
        "distance": optax.tree.norm(delta),
        "curve": curve,
    }


def everything(bending):
    apart = {"independent": 1.0, "bending": bending}
    return {
        **{f"part at {k}": {"parting": share} if share else {} for k, share in PARTINGS.items()},
        "part at 0, shorter": {"length": 2 / 3},
        "independent": apart,
        "independent, matched": apart | {"matched": 1.0},
    }


def above_chord(values, place="position"):
    """A profile minus the straight line between its ends."""
    t = np.linspace(0, 1, values.sizes[place])
    return values.copy(
        data=values - (1 - t) * values.isel({place: [0]}).values - t * values.isel({place: [-1]}).values
    )


def barrier(arms, name, profile="profile", place="position"):
    return above_chord(arms[name][profile], place).max(place)


def identity_error(arms, name="part at 0", green="green"):
    run = arms[name]
    return abs(run.height - run[green]) / np.maximum(abs(run.height), 1e-3)


def ridge(arms):
    curvature = arms["part at 0"].curvature
    middle = curvature.isel(position=curvature.sizes["position"] // 2)
    return middle / curvature.isel(position=[0, -1]).mean("position")


def relief(arms, late="part at 1/3", early="part at 0"):
    floor = lambda name: np.maximum(barrier(arms, name), 1e-3)
    return np.log(floor(late) / floor(early))


def layer_slope(arms, predictor="layer_predicted"):
    """Least squares through the origin, over layers and partings."""
    pairs = [(arms[f"part at {k}"][predictor], arms[f"part at {k}"].layer_height) for k in PARTINGS]
    return sum((x * y).sum("layer") for x, y in pairs) / sum((x**2).sum("layer") for x, _ in pairs)


def random_slope(arms):
    return layer_slope(arms, "layer_random")


def gauss_newton_error(arms):
    return identity_error(arms, green="green_gauss_newton")


def worst_end(arms):
    ends = [arms[f"part at {k}"].profile.isel(position=[0, -1]).max("position").values for k in PARTINGS]
    return np.max(ends, axis=0)


def figure(arms):
    import matplotlib.pyplot as plt

    fig = plt.figure(figsize=(11, 7.2), layout="constrained")
    grid = fig.add_gridspec(3, 2, width_ratios=(1.1, 1))
    stacked = [fig.add_subplot(grid[i, 0]) for i in range(3)]
    layers, curves = fig.add_subplot(grid[:2, 1]), fig.add_subplot(grid[2, 1])
    for i, k in enumerate(PARTINGS):
        run, colour = arms[f"part at {k}"], f"C{i}"
        t = np.linspace(0, 1, run.sizes["position"])
        rows = (
            above_chord(run.profile),
            run.curvature,
            -np.array(green_function(0.5, jnp.array(t))) * run.curvature,
        )
        for ax, values in zip(stacked, rows):
            ax.plot(t, values.mean("seed"), color=colour, label=f"part at {k}")
            ax.fill_between(t, values.min("seed"), values.max("seed"), color=colour, alpha=0.15, lw=0)
        layers.scatter(run.layer_random, run.layer_height, s=12, marker="x", color="0.7", lw=0.8)
        layers.scatter(run.layer_predicted, run.layer_height, s=14, color=colour, label=f"part at {k}")
    layers.scatter([], [], s=12, marker="x", color="0.7", label="curvature in a random direction (control)")
    gauss_newton = arms["part at 0"].gauss_newton.mean("seed")
    (part,) = stacked[1].plot(
        t, gauss_newton, "--", color="C0", label="part at 0, Gauss-Newton part alone (control)"
    )
    stacked[0].set(ylabel="loss above the chord, nats", title="Between two branches: a ridge …")
    stacked[1].set(ylabel="curvature Δ'HΔ, nats", title="… whose negative curvature …")
    stacked[2].set(ylabel="-G(½, s) Δ'HΔ, nats", title="… weighted and summed is its height")
    stacked[2].set_xlabel("position on the segment")
    for ax in stacked:
        ax.axhline(0, color="k", lw=0.6)
    stacked[0].legend(loc="upper right")
    stacked[0].set_gid("thumbnail")
    stacked[1].legend(handles=[part], loc="lower left")
    low = min(
        float(arms[f"part at {k}"][n].min()) for k in PARTINGS for n in ("layer_height", "layer_predicted")
    )
    layers.plot([low, 0], [low, 0], "k-", lw=0.8)
    layers.set(
        xlabel="-(curvature of the layer at the middle)/8, nats", ylabel="middle above the chord, nats"
    )
    layers.set_title("One layer moved alone: height against prediction")
    layers.legend()
    for i, name in enumerate(("independent", "independent, matched")):
        for what, style in (("profile", "-"), ("curve", ":")):
            place = "position" if what == "profile" else "place"
            values = arms[name][what]
            t = np.linspace(0, 1, values.sizes[place])
            label = name.removeprefix("independent, ") + (
                ": line" if what == "profile" else ": learned curve"
            )
            curves.plot(t, values.mean("seed"), style, color=f"C{i + 4}", label=label)
            curves.fill_between(
                t, values.min("seed"), values.max("seed"), color=f"C{i + 4}", alpha=0.15, lw=0
            )
    curves.set(
        xlabel="position", ylabel="training loss, nats", title="No shared trunk: permuting units helps"
    )
    curves.legend(fontsize=8, ncols=2)
    return fig


study = Study(
    experiment,
    arms=everything(60),
    requires=[
        Check(
            "trained",
            "both ends of every shared-trunk segment have fitted the training images",
            worst_end,
            at_most(0.1),
            basis="convention",
            because="the claim is about the ends of training",
        )
    ],
    checks=[
        Check(
            "height",
            "the barrier's height is the Green-weighted negative curvature, to 5%",
            identity_error,
            at_most(0.05),
            control=gauss_newton_error,
            because="exact by calculus; 5% is for the quadrature. The Gauss-Newton part cannot make a barrier",
        ),
        Check(
            "ridge",
            "curvature is negative half way, by at least half of what it is at the ends",
            ridge,
            at_most(-0.5),
            control={"part at 0": "part at 1/3"},
            because="the sign is the claim; a parabola would give 1, and -0.5 keeps clear of 0",
        ),
        Check(
            "late-parting",
            "parting after a third of training lowers the barrier at least five-fold",
            relief,
            at_most(float(np.log(1 / 5))),
            control={"part at 1/3": "part at 0", "part at 0": "part at 1/3"},
            because="it grows with squared distance times curvature, and both fall when the trunk is long",
        ),
        Check(
            "layers",
            "one-point curvature predicts each layer's height above its chord, with a slope near 1",
            layer_slope,
            between(0.7, 1.3),
            control=random_slope,
            because="second-order theory says 1 for short segments",
        ),
    ],
    reports=[
        Report("barrier-0", "barrier, parting at 0, nats", lambda arms: barrier(arms, "part at 0")),
        Report("barrier-late", "barrier, parting at 1/3, nats", lambda arms: barrier(arms, "part at 1/3")),
        Report(
            "relief-equal",
            "ln of the barrier parting at 1/3 over that at 0, with 400 own steps each",
            lambda arms: relief(arms, early="part at 0, shorter"),
        ),
        Report("independent", "barrier of independent runs, nats", lambda arms: barrier(arms, "independent")),
        Report(
            "matched",
            "the same after weight matching, as a share",
            lambda arms: barrier(arms, "independent, matched") / barrier(arms, "independent"),
        ),
        Report(
            "curve",
            "the same along a learned curve, as a share",
            lambda arms: barrier(arms, "independent", "curve", "place") / barrier(arms, "independent"),
        ),
        Report(
            "independent-height",
            "identity error between independent runs",
            lambda arms: identity_error(arms, "independent"),
        ),
    ],
    dims={
        **dict.fromkeys(("profile", "curvature", "gauss_newton"), ("position",)),
        **dict.fromkeys(("layer_height", "layer_predicted", "layer_random"), ("layer",)),
        "curve": ("place",),
    },
    data=load,
    seeds=16,
    pilot_seeds=range(8),
    full={
        "hidden": (256, 256, 256),
        "train": 8000,
        "steps": 6000,
        "points": 65,
        "arms": everything(1000),
        "seeds": 16,
    },
    figure=figure,
)
