"""The same small problems in JAX and in PyTorch, for the tests beside this file."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from torch import nn

from armillary import probe
from armillary.data import digits
from armillary.measure import cross_entropy

SIZES = (64, 16, 12, 10)


def data(count=150):
    x, y = digits()
    return x[:count], y[:count]


def trained(seed=0, steps=120):
    """A trained classifier, its state before training, and its parameters as a pytree in the same order."""
    torch.manual_seed(seed)
    a, b, c, d = SIZES
    net = nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, c), nn.Tanh(), nn.Linear(c, d))
    start = {name: value.clone() for name, value in net.state_dict().items()}
    x, y = (torch.from_numpy(v) for v in data())
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), y.long()).backward()
        optimizer.step()
    return net.eval(), start


def tree(state):
    return [tuple(jnp.asarray(state[f"{i}.{n}"].numpy()) for n in ("weight", "bias")) for i in (0, 2, 4)]


def hidden(params, batch):
    (w, b), (v, c), _ = params
    first = jax.nn.relu(batch[0] @ w.T + b)
    return first, jnp.tanh(first @ v.T + c)


def outputs(params, batch):
    w, b = params[2]
    return hidden(params, batch)[1] @ w.T + b


def loss(params, batch):
    return cross_entropy(outputs(params, batch), batch[1])


def cut(x, y, size=50):
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]


def in_jax(params, *, size=50, **options):
    x, y = data()
    return probe.from_jax(
        loss,
        params,
        cut(x, y, size),
        outputs=outputs,
        features=lambda p, b: hidden(p, b)[1],
        classifier=lambda p: p[2][0],
        activations=hidden,
        **options,
    )


def in_torch(net, *, size=50, **options):
    x, y = data()
    batches = cut(torch.from_numpy(x), torch.from_numpy(y).long(), size)
    return probe.from_torch(net, nn.functional.cross_entropy, batches, **options)


def value(report, words):
    return report[words].value


def random_vectors(problem, count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, problem.size), np.float32)
