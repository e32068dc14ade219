"""Gradient descent on a quadratic converges below twice the inverse curvature.

Claim: with a step below 2 the loss goes to zero.
Control: a step above 2; the loss grows.
Scope: unit curvature.
"""

from typing import Literal

import jax
import jax.numpy as jnp

from armillary.lab import Check, Report, Study, at_least, at_most


def experiment(key, *, rate=0.5, steps=30, dim=3, start: Literal["normal", "ones"] = "normal", sizes=(2, 3)):
    x = jax.random.normal(key, (dim,)) if start == "normal" else jnp.ones(dim)

    def step(x, _):
        x = x - rate * x
        return x, jnp.sum(x**2)

    x, curve = jax.lax.scan(step, x, None, length=steps)
    return {"final": curve[-1], "curve": curve, "total": jnp.float32(sum(sizes))}


study = Study(
    experiment,
    arms={"stable": {}, "unstable": {"rate": 2.1}},
    dims={"curve": ("step",)},
    coords={"step": lambda s: range(s["steps"])},
    checks=[
        Check(
            "converges",
            "the loss goes to zero",
            lambda arms: arms["stable"].final,
            at_most(1e-3),
            control={"stable": "unstable"},
            because="|1 - rate| < 1",
        )
    ],
    requires=[
        Check(
            "starts", "the start is not the minimum", lambda arms: arms["stable"].curve[:, 0], at_least(1e-9)
        )
    ],
    reports=[Report("last", "the last loss", lambda arms: arms["unstable"].final)],
    full={"steps": 100, "seeds": 16},
)
