"""The example that ships: a small network, trained on the spot on real digits."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from armillary.data import digits, split
from armillary.lab.plan import devices
from armillary.measure import cross_entropy
from armillary.nn import MLP
from armillary.probe.jax_problem import from_jax
from armillary.probe.problem import Problem
from armillary.train import fit

settings: dict[str, Any] = {"learning_rate": 0.1, "batch_size": 64}


def loss(net: MLP, batch: Any) -> Any:
    """Cross-entropy, nats."""
    return cross_entropy(net(batch[0]), batch[1])


def train(rate: float = 0.1, batch_size: int = 64, steps: int = 1500, seed: int = 0) -> tuple[MLP, MLP]:
    """A 64-48-48-10 network before and after SGD on 1,200 digits."""
    devices()
    start, order = jax.random.split(jax.random.key(seed))
    net = MLP((64, 48, 48, 10), start)
    data = split(*digits(), 1200, seed=0)

    def run(net: MLP, x: Any, y: Any, key: Any) -> Any:
        def draw(key: Any) -> Any:
            rows = jax.random.choice(key, len(x), (batch_size,), replace=False)
            return x[rows], y[rows]

        return fit(loss, net, draw, optax.sgd(rate), steps=steps, key=key, every=steps).params

    return net, jax.jit(run)(net, jnp.asarray(data.x_train), jnp.asarray(data.y_train), order)


def problem() -> Problem:
    """The trained network on its training digits, with its start, and a second one trained from another seed."""
    start, net = train()
    _, other = train(seed=1)
    data = split(*digits(), 1200, seed=0)
    batches = [(data.x_train[i : i + 300], data.y_train[i : i + 300]) for i in range(0, 1200, 300)]
    return from_jax(
        loss,
        net,
        batches,
        outputs=lambda net, batch: net(batch[0]),
        features=lambda net, batch: net.features(batch[0]),
        classifier=lambda net: net.weights[-1].T,
        activations=lambda net, batch: net.features(batch[0]),
        start=start,
        other=other,
    )
