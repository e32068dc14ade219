"""The Closeness of In-Context Learning and Weight Shifting for Softmax Regression (2023).

Claim: in softmax regression, min ‖softmax(Ax) - b‖ over x, a step of gradient descent from x to x' is a shift of the
targets by at most ½‖A‖‖x' - x‖, and an update of A by a layer of self-attention one by at most ½‖x‖‖A' - A‖. Neither bound
grows with the number of outputs, and the first is nearly attained.
Control: the exponentials are not normalized; random cases without the search for the worst one.
Scope: the two Lipschitz theorems and the size of their constant, which the paper gives as exp(O(R² + log n)). That trained
models resemble gradient descent does not follow from an upper bound, and is not tested.
Departures: ½ is the norm of softmax's Jacobian, so that the sharp constants are checked instead of the paper's. Steps are
projected onto ‖x‖ ≤ R, where the theorems hold. The worst case is looked for by gradient ascent from random points, and
for its growth with n also from two opposed rows that all others make way for, lest the search fail where n is large.
Cases beyond the bound are counted: the interval of the mean of a maximum can reach above a bound that no case exceeds.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import unit_sphere
from armillary.lab import Check, Report, Study, at_least, at_most
from armillary.measure import power_law, softmax_shift, spectral_norm
from armillary.train import fit


def within(x, radius):
    """x, or the nearest point of the ball."""
    size = jnp.linalg.norm(x, axis=-1, keepdims=True)
    return x * jnp.minimum(1, radius / size)


def experiment(
    key,
    *,
    normalized=1.0,
    outputs=(2, 8, 32, 128, 512),
    dim=8,
    radii=(1.0, 2.0, 3.0),
    rates=(0.01, 0.1, 1.0),
    draws=4,
    attention=0.1,
    row_norm=2.0,
    restarts=6,
    steps=400,
    rate=0.05,
):
    """f(z) = exp(z) / Z^`normalized`. Fewer outputs than the most are rows that do not count.

    Random cases have ‖A‖, ‖x‖ ≤ R for R in `radii`; the search has rows of norm `row_norm`, so that ‖A‖ may grow.
    """
    k_random, k_search = jax.random.split(key)
    count = max(outputs)

    def function(present):
        def f(z):
            z = jnp.where(present, z, -1e9)
            return jnp.exp(z - normalized * jax.nn.logsumexp(z, -1, keepdims=True))

        return f

    def random_case(key, present, radius):
        k_a, k_x, k_b, k_q = jax.random.split(key, 4)
        f = function(present)
        a = jax.random.normal(k_a, (count, dim)) * present[:, None]
        a *= radius / spectral_norm(a)
        x, solution = radius * unit_sphere(k_x, dim), radius * unit_sphere(k_b, dim)
        gradient = jax.grad(lambda x: jnp.sum((f(a @ x) - f(a @ solution)) ** 2) / 2)(x)

        def tightness(**change):
            found = softmax_shift(a, x, **change, function=f)
            return jnp.linalg.norm(found.shift) / found.bound

        step = jax.vmap(lambda rate: tightness(weights=within(x - rate * gradient, radius)))(jnp.array(rates))
        scores = jnp.where(present, a @ jax.random.normal(k_q, (dim, dim)) @ a.T, -1e9)
        attended = a + attention * (jax.nn.softmax(scores) @ a - a) * present[:, None]
        return step, tightness(matrix=attended)

    def random_cases(case):
        keys, present, radius = case
        return jax.vmap(random_case, (0, None, None))(keys, present, radius)

    presents = jnp.arange(count) < jnp.array(outputs)[:, None]
    grid = (
        jax.random.split(k_random, (len(outputs) * len(radii), draws)),
        jnp.repeat(presents, len(radii), 0),
        jnp.tile(jnp.array(radii), len(outputs)),
    )
    by_step, by_attention = jax.lax.map(random_cases, grid)

    def place(params):
        a, x, moved = params
        return (
            row_norm * a / jnp.linalg.norm(a, axis=-1, keepdims=True),
            within(x, row_norm),
            within(moved, row_norm),
        )

    def ratio(params, present):
        """‖f(Ax') - f(Ax)‖ / ‖x' - x‖ of every restart."""
        (a, x, moved), f = place(params), function(present)
        change = f(jnp.einsum("rnd,rd->rn", a, moved)) - f(jnp.einsum("rnd,rd->rn", a, x))
        return jnp.linalg.norm(change, axis=-1) / jnp.linalg.norm(moved - x, axis=-1)

    shape = (len(outputs), restarts + 2)
    k_a, k_x, k_m = jax.random.split(k_search, 3)
    a, x, moved = (
        jax.random.normal(k, (*shape, *more, dim)) for k, more in ((k_a, (count,)), (k_x, ()), (k_m, ()))
    )
    # The last two start at x ∥ e₁, moved along e₂, with rows e₁ ± e₂ on top and -e₁ elsewhere, and a little noise.
    built = jnp.zeros((count, dim)).at[:, 0].set(-1).at[:2, 0].set(1).at[:2, 1].set(jnp.array([1, -1]))
    e1, e2 = jnp.eye(dim)[:2]
    last = lambda random, made: random.at[:, restarts:].multiply(0.05).at[:, restarts:].add(made)
    start = last(a, built), last(x, row_norm * e1), last(moved, row_norm * e1 + 0.1 * e2)
    run = fit(
        lambda params, presents: -jnp.sum(jnp.log(jax.vmap(ratio)(params, presents))),
        start,
        presents,
        optax.adam(optax.cosine_decay_schedule(rate, steps)),
        steps=steps,
        every=steps,
    )
    worst = jax.vmap(ratio)(run.params, presents).max(1)

    def attained(params):
        """How near to ½‖A‖ the random restarts are at the fewest outputs."""
        a, *points = (p[0, :restarts] for p in params)
        placed = place((a, *points))[0] * presents[0][:, None]
        return 2 * ratio((a, *points), presents[0]) / jax.vmap(spectral_norm)(placed)

    searched = attained(run.params)
    cases = jnp.concatenate([by_step.ravel(), by_attention.ravel(), searched])
    largest = lambda found: found.reshape(len(outputs), -1).max(1)
    return {
        "step_tightness": largest(by_step),
        "attention_tightness": largest(by_attention),
        "exceeding": jnp.mean(cases > 1 + 1e-6),
        "attained": searched.max(),
        "attained_at_random": attained(start).max(),
        "worst": worst,
        "slope": power_law(jnp.array(outputs[1:], worst.dtype), worst[1:]).slope,
    }


def looseness(arms):
    """The published constant with 1 in place of the O(·), over the worst case found, at the most outputs."""
    run = arms["softmax"]
    return np.log10(run.outputs[-1] * np.exp(4.0) / run.worst[:, -1])


def figure(arms):
    import matplotlib.pyplot as plt

    fig, axes = plt.subplots(1, 2, figsize=(10.5, 4), layout="constrained")
    n = arms["softmax"].outputs.values
    for name, label, style in (
        ("step_tightness", "gradient steps", "o-"),
        ("attention_tightness", "self-attention", "s--"),
    ):
        for arm, colour in (("softmax", "C0"), ("not normalized", "C3")):
            values = arms[arm][name]
            axes[0].fill_between(n, values.min("seed"), values.max("seed"), color=colour, alpha=0.2, lw=0)
            axes[0].plot(n, values.mean("seed"), style, color=colour, ms=4, label=f"{label}, {arm}")
    axes[0].axhline(1, color="k", lw=1)
    axes[0].text(n[-1], 0.9, "bound", ha="right", va="top", fontsize=8)
    axes[0].set(xscale="log", yscale="log", xlabel="outputs n", ylabel="shift of the targets over the bound")
    axes[0].set_title("Random cases, the largest of all sizes and steps")
    axes[0].legend(fontsize=8)
    axes[0].set_gid("thumbnail")
    for arm, colour in (("softmax", "C0"), ("not normalized", "C3")):
        worst = arms[arm].worst
        axes[1].plot(n, worst.T, color=colour, lw=0.6, alpha=0.4)
        axes[1].plot(n, worst.mean("seed"), "o-", color=colour, ms=4, label=f"worst case found, {arm}")
    base = float(arms["softmax"].worst[:, 0].mean())
    axes[1].plot(n, np.exp(4.0) * n, "k:", lw=1, label="exp(R²)·n, the published form")
    axes[1].plot(n[:1], [2**0.5], "k_", ms=18, mew=1.5, label="½‖A‖ of two opposed rows")
    axes[1].set(xscale="log", yscale="log", ylim=(base / 8, None), xlabel="outputs n, rows of A of norm 2")
    axes[1].set(ylabel="shift of the targets over ‖x' - x‖")
    axes[1].set_title("Searched by gradient ascent")
    axes[1].legend(fontsize=8, loc=(0.48, 0.22))
    return fig


study = Study(
    experiment,
    arms={"softmax": {}, "not normalized": {"normalized": 0.0}},
    checks=[
        Check(
            "bounded",
            "share of cases, random and searched, in which the targets shift by more than the bound",
            lambda arms: arms["softmax"].exceeding,
            at_most(0),
            control={"softmax": "not normalized"},
            because="softmax's Jacobian diag(p) - ppᵀ has norm ½ at most; a millionth more counts as rounding",
        ),
        Check(
            "nearly-attained",
            "with two outputs, ascent finds a shift of nine tenths of the bound",
            lambda arms: arms["softmax"].attained,
            at_least(0.9),
            control=lambda arms: arms["softmax"].attained_at_random,
            because="rows a and -a attain it, so no smaller constant holds; the control is the same search's start",
        ),
        Check(
            "dimension-free",
            "log-log slope in n of the worst shift over ‖x' - x‖, from 8 to 512 rows of norm 2",
            lambda arms: arms["softmax"].slope,
            at_most(0.1),
            control={"softmax": "not normalized"},
            because="at most 0 in theory, where two outputs carry all; without the normalizer equal rows add up: ½",
        ),
    ],
    reports=[
        Report(
            "steps-attain",
            "gradient steps with two outputs: the shift over its bound, the largest of the random cases",
            lambda arms: arms["softmax"].step_tightness.isel(outputs=0),
        ),
        Report(
            "looseness",
            "decades from the worst case found up to exp(R²)·n, the form that is published",
            looseness,
        ),
    ],
    dims=dict.fromkeys(("step_tightness", "attention_tightness", "worst"), ("outputs",)),
    coords={"outputs": lambda s: s["outputs"]},
    full={
        "outputs": (2, 8, 32, 128, 512, 2048, 8192),
        "draws": 32,
        "restarts": 50,
        "steps": 4000,
        "seeds": 16,
    },
    x64=True,
    figure=figure,
)
