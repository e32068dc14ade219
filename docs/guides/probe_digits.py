"""A classifier of real digits before and after its learning rate is raised past 2/λ (JAX and Equinox).

armillary probe probe_digits.py:before --only curvature --learning-rate 0.7
armillary probe probe_digits.py:after --only curvature --learning-rate 0.7
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from armillary import probe
from armillary.data import digits
from armillary.measure import cross_entropy

x, y = digits()
x, y = x[:600], y[:600]


def outputs(net, batch):
    return jax.vmap(net)(batch[0])


def loss(net, batch):
    return cross_entropy(outputs(net, batch), batch[1])


@eqx.filter_jit
def descend(net, rate, steps):
    """Full-batch gradient descent: the network afterwards, and the loss at every step."""
    weights, rest = eqx.partition(net, eqx.is_inexact_array)

    def step(weights, _):
        value, slope = jax.value_and_grad(lambda w: loss(eqx.combine(w, rest), (x, y)))(weights)
        return jax.tree.map(lambda w, g: w - rate * g, weights, slope), value

    weights, losses = jax.lax.scan(step, weights, None, length=steps)
    return eqx.combine(weights, rest), losses


def settled():
    start = eqx.nn.MLP(64, 10, 32, 2, activation=jnp.tanh, key=jax.random.key(0))
    return descend(start, jnp.asarray(0.1), 400)[0]


def before():
    """After 400 steps at a rate of 0.1."""
    return probe.from_jax(loss, settled(), [(x, y)], outputs=outputs)


def after():
    """And 100 more at 0.7."""
    net, losses = descend(settled(), jnp.asarray(0.7), 100)
    print("loss every tenth step:", *(f"{v:.2f}" for v in losses[::10]), flush=True)
    return probe.from_jax(loss, net, [(x, y)], outputs=outputs)
