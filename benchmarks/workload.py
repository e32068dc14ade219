"""The benchmarks' common work: 64 small networks (8 seeds × 8 learning rates), 1,000 SGD steps each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.lab import Study
from armillary.nn import MLP
from armillary.train import fit

SIZES = (10, 64, 64, 1)
BATCH = 64
STEPS = 1_000
SEEDS = 8
RATES = np.geomspace(1e-3, 1e-1, 8)


def load() -> dict[str, np.ndarray]:
    """4,096 inputs and the outputs of a random quadratic form."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((4096, SIZES[0]), dtype=np.float32)
    return {
        "x": x,
        "y": ((x @ rng.standard_normal(SIZES[0], dtype=np.float32)) ** 2 / SIZES[0]).astype(np.float32),
    }


def experiment(key, data, *, rate=0.01, steps=STEPS):
    k_init, k_fit = jax.random.split(key)

    def loss(model, batch):
        x, y = batch
        return jnp.mean((model(x)[:, 0] - y) ** 2)

    def batch(key):
        rows = jax.random.randint(key, (BATCH,), 0, len(data["x"]))
        return data["x"][rows], data["y"][rows]

    trained = fit(loss, MLP(SIZES, k_init), batch, optax.sgd(rate), steps=steps, key=k_fit, every=steps // 10)
    return {"loss": trained.loss}


study = Study(experiment, data=load, dims={"loss": ("step",)}, seeds=SEEDS)
