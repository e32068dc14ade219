"""A study in worker processes: a mean by NumPy, with data and a base model."""

import os

import jax
import numpy as np

from armillary.lab import Check, Study, at_least, at_most


def data(*, size=8):
    return {"x": np.arange(size, dtype=np.float32)}


def base(key, data, *, width=3):
    return {"w": jax.random.normal(key, (width,)) + data["x"].mean()}


def experiment(key, data, base, *, size=8, width=3, shift=0.0, fail=-1):
    seed = int(jax.random.key_data(key)[-1])
    print("noise on stdout must not reach the lab")
    if seed == fail:
        raise ValueError("as asked")
    if fail == 1000 + seed:
        os._exit(3)
    mean = float(np.mean(data["x"])) + shift
    return {
        "mean": mean,
        "base_sum": np.asarray(base["w"]).sum(),
        "process": os.getpid(),
        "echo": np.arange(3) + seed,
    }


study = Study(
    experiment,
    arms={"plain": {}, "shifted": {"shift": 5.0}},
    data=data,
    base=base,
    host=True,
    seeds=5,
    checks=[
        Check(
            "mean", "the mean is small", lambda arms: arms["plain"]["mean"], at_most(4), {"plain": "shifted"}
        )
    ],
    requires=[Check("there", "there are data", lambda arms: arms["plain"]["mean"], at_least(0))],
)
