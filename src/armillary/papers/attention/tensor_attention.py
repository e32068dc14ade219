"""How to Capture Higher-order Correlations? Generalizing Matrix Softmax Attention to Kronecker Computation (2023).

Claim: while entries are small, a polynomial of fixed degree approximates softmax attention over pairs of keys to a
thousandth, at a cost linear in the sequence length. One such unit finds triples of tokens that sum to zero, which
ordinary attention does not learn to do.
Control: entries of up to 3 instead of 1; the exact attention's cost; labels by pairs that sum to zero, which ordinary
attention can find.
Scope: the algorithm and what one unit can express. That nothing is faster where entries are large is a conditional theorem;
the study shows that this algorithm breaks there. Ordinary attention is one head with the same features of its tokens, started
at the solution for pairs, at the best of three learning rates and two temperatures; no MLP behind it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.nn import tensor_attention
from armillary.train import fit

RATES = (1e-3, 1e-2, 1e-1)
COLD, WARM = 2000.0, 20.0


def experiment(
    key,
    *,
    pairs=0.0,
    dim=3,
    degrees=(2, 4, 6),
    bounds=(0.5, 1.0, 1.5, 2.0, 3.0),
    lengths=(8, 16, 32, 64),
    costs=(64, 128, 256, 512, 1024),
    tokens=8,
    modulus=53,
    batch=256,
    steps=500,
    test=2000,
):
    """`pairs`: 1 to label tokens by pairs that sum to zero instead of triples."""
    k_small, k_test, k_fit = jax.random.split(key, 3)

    def error(bound, length, degree):
        entries = bound * jax.random.uniform(jax.random.fold_in(k_small, length), (5, length, dim), minval=-1)
        q, k, v = entries[0], tuple(entries[1:3]), tuple(entries[3:])
        wrong = tensor_attention(q, k, v, degree=degree) - tensor_attention(q, k, v)
        return jnp.max(abs(wrong)) / (jnp.max(abs(v[0]), 0) * jnp.max(abs(v[1]), 0)).max()

    errors = [
        [jax.vmap(lambda b, n=n, g=g: error(b, n, g))(jnp.array(bounds)) for n in lengths] for g in degrees
    ]

    def instances(key, count):
        x = jax.random.randint(key, (count, tokens), 0, modulus)
        sums = x[:, :, None] + x[:, None, :]
        two = jnp.any(sums % modulus == 0, 2)
        three = jnp.any((x[:, :, None, None] + sums[:, None]) % modulus == 0, (2, 3))
        angle = 2 * jnp.pi * x / modulus
        return jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1), jnp.where(pairs > 0.5, two, three)

    x, label = instances(k_test, test)
    edge = (1 + jnp.cos(2 * jnp.pi / modulus)) / 2  # between a sum of 0 and of ±1

    def balanced(said, label):
        return (jnp.sum(said & label) / jnp.sum(label) + jnp.sum(~said & ~label) / jnp.sum(~label)) / 2

    def unit(x):
        """cos(a + b + c), or cos(a + b), averaged by attention to its size."""
        c, s = x[..., 0], x[..., 1]
        own = jnp.stack([c, -c, -s, -s], -1)
        first, second = jnp.stack([c, s, c, s], -1), jnp.stack([c, s, s, c], -1)
        triple = tensor_attention(4 * COLD * own, (first, second), (first, second))
        double = pair_attention({"q": COLD * x * jnp.array([1, -1]), "k": x, "v": x})
        return jnp.where(pairs > 0.5, jnp.sum(x * jnp.array([1, -1]) * double, -1), jnp.sum(own * triple, -1))

    def pair_attention(heads):
        return jax.nn.softmax(heads["q"] @ heads["k"].mT, -1) @ heads["v"]

    def logits(model, x):
        read = pair_attention({name: x @ model[name] for name in "qkv"})
        products = (x[..., :, None] * read[..., None, :]).reshape(*x.shape[:-1], 4)
        return jnp.concatenate([products, x, read], -1) @ model["out"] + model["bias"]

    def loss(model, batch):
        x, label = batch
        share = jnp.mean(label)
        weight = jnp.where(label, 0.5 / share, 0.5 / (1 - share))
        return jnp.mean(weight * jax.nn.softplus(jnp.where(label, -1, 1) * logits(model, x)))

    def learn(rate, temperature):
        root = jnp.sqrt(temperature)
        sharp = 2 / (1 - edge)
        start = {
            "q": root * jnp.diag(jnp.array([1.0, -1.0])),
            "k": root * jnp.eye(2),
            "v": jnp.eye(2),
            "out": sharp * jnp.array([1.0, 0, 0, -1.0, 0, 0, 0, 0]),
            "bias": -sharp * edge,
        }
        model = fit(
            loss,
            start,
            lambda key: instances(key, batch),
            optax.adam(rate),
            steps=steps,
            key=k_fit,
            every=steps,
        ).params
        return balanced(logits(model, x) > 0, label)

    rates, temperatures = jnp.meshgrid(jnp.array(RATES), jnp.array([COLD, WARM]))
    return {
        "error": jnp.array(errors),
        "cost": jnp.array([[operations(n, dim, g) for n in costs] for g in (None, degrees[1])], float),
        "unit": balanced(unit(x) > edge, label),
        "learnt": jax.vmap(learn)(rates.ravel(), temperatures.ravel()).max(),
        "matches": jnp.mean(label),
    }


def operations(length, dim, degree):
    """Floating-point operations of the program that XLA is given."""
    shape = jax.ShapeDtypeStruct((length, dim), jnp.float32)
    run = lambda q, k1, k2, v1, v2: tensor_attention(q, (k1, k2), (v1, v2), degree=degree)
    return (jax.jit(run).lower(*[shape] * 5).cost_analysis() or {})["flops"]


def worst_error(bound):
    value = lambda arms: arms["triples"].error.sel(degree=4, bound=bound).max("length")
    value.__name__ = f"entries up to {bound:g}"
    return value


def growth(algorithm):
    def value(arms):
        cost = arms["triples"].cost.sel(algorithm=algorithm)
        return [np.polyfit(np.log(cost.positions), np.log(c), 1)[0] for c in cost.values]

    value.__name__ = f"the {algorithm} attention"
    return value


def figure(arms):
    import matplotlib.pyplot as plt

    fig, (left, middle, right) = plt.subplots(1, 3, figsize=(13, 3.9), layout="constrained")
    run = arms["triples"]
    for i, g in enumerate(run.degree.values):
        error = run.error.sel(degree=g).max("length")
        left.plot(run.bound, error.mean("seed"), "o-", color=f"C{i}", label=f"degree {g}")
        left.fill_between(run.bound, error.min("seed"), error.max("seed"), color=f"C{i}", alpha=0.2)
        if g <= 4:  # rounding hides the remainder of degree 6 there
            b = np.array([0.75, 1.35])
            at = float(error.sel(bound=1.0).mean())
            left.plot(b, at * b ** (3 * (g + 1)), ":", color=f"C{i}", lw=1.5)
    left.axhline(1e-3, color="k", lw=1)
    left.text(3, 1e-3, "bound", ha="right", va="top")
    left.set(yscale="log", ylim=(1e-9, 1e2), xlabel="largest entry B", ylabel="largest error of the output")
    left.set_title("Accurate while entries are small\n(dotted: the remainder's power of B)")
    left.legend(loc="lower right")
    n = run.positions.values
    for name, colour, power in (("exact", "C3", 3), ("polynomial", "C0", 1)):
        cost = run.cost.sel(algorithm=name)[0].values
        middle.plot(n, cost, "o", color=colour, label=f"{name}: ~ n^{growth(name)(arms)[0]:.2f}")
        middle.plot(n, cost[-1] * (n / n[-1]) ** power, "k:", lw=1.2)
    middle.set(xscale="log", yscale="log", xlabel="sequence length n", ylabel="floating-point operations")
    middle.set_xticks(n, [str(i) for i in n])
    middle.minorticks_off()
    middle.set_title("… at linear cost")
    middle.legend()
    for i, arm in enumerate(("triples", "pairs")):
        for j, (what, colour) in enumerate((("unit", "C0"), ("learnt", "C1"))):
            values = arms[arm][what].values
            label = {"unit": "the unit for it, by hand", "learnt": "ordinary attention, trained"}[what]
            right.plot(i + (j - 0.5) / 4 + np.linspace(-0.05, 0.05, len(values)), values, "o", color=colour)
            right.plot([], [], "o", color=colour, label=label if i == 0 else None)
    right.axhline(0.5, color="0.6", lw=1)
    right.set(
        xticks=[0, 1],
        xticklabels=["x + y + z = 0", "x + y = 0 (control)"],
        xlim=(-0.5, 1.5),
        ylim=(0.45, 1.03),
    )
    right.set(ylabel="balanced accuracy", title="Who finds the tokens that sum to zero")
    right.legend(loc="lower left")
    return fig


study = Study(
    experiment,
    arms={"triples": {}, "pairs": {"pairs": 1.0}},
    checks=[
        Check(
            "accurate",
            "largest error at degree 4 and entries up to 1, over the largest product of two values",
            worst_error(1.0),
            at_most(1e-3),
            control=worst_error(3.0),
            because="scores have standard deviation 0.11 and at most 1: the remainder s⁵/120 is 1e-7 typically, 8e-3 at"
            " worst and then averaged; at 3 scores reach 27",
        ),
        Check(
            "linear-time",
            "the power of the sequence length in the operation count, from 64 to 1,024",
            growth("polynomial"),
            at_most(1.1),
            control=growth("exact"),
            because="1 in theory; 3 for the exact attention",
        ),
        Check(
            "triples",
            "balanced accuracy of the unit minus that of trained ordinary attention",
            lambda arms: arms["triples"].unit - arms["triples"].learnt,
            at_least(0.1),
            control={"triples": "pairs"},
            because="a sum of two numbers cannot tell what a sum of three is; a tenth is a lead that nobody would call a tie",
        ),
    ],
    requires=[
        Check(
            "hand-set",
            "balanced accuracy of the hand-set units for triples and for pairs, the lower one",
            lambda arms: np.minimum(arms["triples"].unit, arms["pairs"].unit),
            at_least(0.999),
            because="they are exact by construction",
        )
    ],
    reports=[
        Report(
            "learnt", "ordinary attention's balanced accuracy on triples", lambda arms: arms["triples"].learnt
        ),
        Report(
            "matches", "share of tokens in a triple that sums to zero", lambda arms: arms["triples"].matches
        ),
    ],
    dims={"error": ("degree", "length", "bound"), "cost": ("algorithm", "positions")},
    coords={
        "degree": lambda s: s["degrees"],
        "length": lambda s: s["lengths"],
        "bound": lambda s: s["bounds"],
        "positions": lambda s: s["costs"],
        "algorithm": ("exact", "polynomial"),
    },
    full={"lengths": (64, 256), "costs": (1024, 4096, 16384, 65536), "test": 20_000, "steps": 5000},
    figure=figure,
)
