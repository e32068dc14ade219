"""Grokking as the Transition from Lazy to Rich Training Dynamics (2023).

Claim: under plain gradient descent without weight decay, a network with a large output scale α fits its training set
first as a kernel machine and generalizes many times later, when its features have moved towards the target's. With
a small α, from the same data and weights, both happen together.
Control: α alone, 0.1 instead of 4; for what comes late, the network's tangent at the start, whose features cannot move.
Scope: the paper's polynomial regression at 16 dimensions, 100 examples and 96 units. Its mean-field solution, MNIST and
transformers are not here.
Departures: a third check, late-drop, asks whether anything is learnt after the fit: with the kernel frozen the delay only
grows, since generalization never comes.
"""

import jax
import jax.numpy as jnp
import optax

from armillary.data import split  # noqa: F401
from armillary.lab import Check, Report, Study, at_least
from armillary.measure import empirical_ntk, grokking_delay, kernel_alignment
from armillary.train import fit, lazy_scale, linearized

ALPHAS = [0.1, 0.3, 1.0, 4.0, 16.0]


def clock(early, steps, every):
    """Every step up to `early`, then every so many; counted from 1."""
    return [1 + t for t in (*range(early), *range(early, steps, every))]


def experiment(
    key,
    *,
    alpha=4.0,
    frozen=False,
    dim=16,
    examples=100,
    width=96,
    curvature=0.25,
    tests=300,
    seen=40,
    rate=0.1,
    early=200,
    steps=6200,
    every=20,
):
    """`curvature` is ε in φ(h) = h + εh²/2; the target is quadratic, so that a small one misaligns the first kernel."""
    k_x, k_test, k_truth, k_w = jax.random.split(key, 4)
    truth = jax.random.normal(k_truth, (dim,))
    truth = truth / jnp.linalg.norm(truth)
    x, x_test = jax.random.normal(k_x, (examples, dim)), jax.random.normal(k_test, (tests, dim))
    start = jax.random.normal(k_w, (width, dim)) / dim**0.5

    def network(w, x):
        h = x @ w.T
        return jnp.mean(h + curvature / 2 * h**2, -1)

    model = lazy_scale(linearized(network, start) if frozen else network, start, alpha)
    target = lambda x: (x @ truth) ** 2 / 2
    loss = lambda w, x: jnp.mean((model(w, x) - target(x)) ** 2)
    share = lambda w, x: loss(w, x) / jnp.mean(target(x) ** 2)
    record = lambda w: (share(w, x), share(w, x_test), w)
    descend = lambda w, steps, every: fit(
        lambda w, x: width * loss(w, x) / alpha**2,
        w,
        x,
        optax.sgd(rate / 2),
        steps=steps,
        every=every,
        record=record,
    )
    first = descend(start, early, 1)
    rest = descend(first.params, steps - early, every)
    train, test, weights = jax.tree.map(lambda *a: jnp.concatenate(a), first.record, rest.record)
    when = grokking_delay(jnp.array(clock(early, steps, every), float), train, test, threshold=0.1)
    fitted = jnp.argmax(train < 0.1)
    kernel = lambda w: empirical_ntk(model, w, x_test[:seen])
    return {
        "train": train,
        "test": test,
        "overlap": jnp.sum((weights @ truth) ** 2, -1) / jnp.sum(weights**2, (1, 2)),
        "delay": when.delay,
        "censored": when.censored,
        "fit": jnp.min(train),
        "late_drop": test[fitted] / test[-1],
        "kernel_motion": 1 - kernel_alignment(kernel(weights[fitted]), kernel(weights[-1])),
    }


study = Study(
    experiment,
    arms={"lazy": {}, "rich": {"alpha": 0.1}, "frozen": {"frozen": True}},
    checks=[
        Check("delay", "d", lambda arms: arms["lazy"].delay, at_least(0.7), control={"lazy": "rich"}),
        Check(
            "features",
            "d",
            lambda arms: arms["lazy"].kernel_motion,
            at_least(0.05),
            control={"lazy": "frozen"},
        ),
        Check("late-drop", "d", lambda arms: arms["lazy"].late_drop, at_least(2), control={"lazy": "frozen"}),
    ],
    reports=[
        Report(n + a, n, lambda arms, n=n, a=a: arms[a][n])
        for n in ("delay", "censored", "fit", "late_drop", "kernel_motion")
        for a in ("lazy", "rich", "frozen")
    ],
    dims=dict.fromkeys(("train", "test", "overlap"), ("step",)),
    coords={"step": lambda s: clock(s["early"], s["steps"], s["every"])},
)
