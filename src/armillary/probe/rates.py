"""Learning-rate sensitivity: a short sweep of plain SGD from the given parameters."""

import jax.numpy as jnp
import numpy as np

from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, words
from armillary.train.sensitivity import lr_sensitivity

PROXY = "Small-scale proxies for large-scale Transformer training instabilities (2023)"
COUNT = 8
STEPS = 8


def rates(problem: Problem, setting: Setting) -> list[Row]:
    """The loss after a few steps at rates from far below to above the stability limit."""
    top = setting.found.get("largest")
    if top and top > 0:
        middle, known = 2 / top, "2/λ"
    elif setting.learning_rate:
        middle, known = setting.learning_rate, "η"
    else:
        square = float(np.linalg.norm(problem.gradient())) ** 2
        middle, known = (problem.base_loss / square if square else 1.0), "loss/‖gradient‖²"
    grid = middle * 2.0 ** (np.arange(COUNT) - COUNT + 3)
    grid = np.append(grid, setting.learning_rate) if setting.learning_rate else grid

    def train(rate: float, lane: int) -> float:
        at, done = problem.vector.copy(), 0
        while done < STEPS:
            for batch in problem.data:
                at -= at.dtype.type(rate) * problem.engine.gradient(at, batch, lane)
                done += 1
                if done == STEPS:
                    break
        values = [problem.engine.loss(at, batch, lane) for batch in problem.data]
        return float(np.average(values, weights=problem.sizes))

    with np.errstate(over="ignore", invalid="ignore"):
        losses = np.array(list(problem._each(train, [float(r) for r in grid])))
    start = problem.base_loss
    sweep = losses[:COUNT]
    safe = grid[:COUNT][np.isfinite(sweep) & (sweep <= start)]
    best = float(grid[:COUNT][np.nanargmin(np.where(np.isfinite(sweep), sweep, np.inf))])
    rate = setting.learning_rate
    rows = [
        row(
            "rates",
            f"largest rate that lowers the loss in {STEPS} steps",
            float(safe.max()) if len(safe) else None,
            f"of {COUNT} rates around {known}, {words(best)} lowers it most"
            if len(safe)
            else f"none of {COUNT} rates around {known} lowers the loss: the model is at its lowest here",
            PROXY,
            "transformer-instability-proxy",
            reference=rate if rate else (2 / top if top and top > 0 else None),
            against="η, the learning rate" if rate else "2/λ",
            rates=grid[:COUNT],
            losses=sweep,
            start=start,
        ),
        row(
            "rates",
            "learning-rate sensitivity",
            float(lr_sensitivity(jnp.asarray(sweep), start)),
            "the mean loss given away by a rate of the sweep that is not the best one",
            PROXY,
            "transformer-instability-proxy",
            reference=start - float(np.nanmin(np.where(np.isfinite(sweep), sweep, np.inf))),
            against="what the best rate gains",
        ),
    ]
    if rate:
        rows.append(
            row(
                "rates",
                f"loss after {STEPS} SGD steps at η",
                losses[-1] if np.isfinite(losses[-1]) else None,
                "the loss is no longer finite: SGD diverges at this rate"
                if not np.isfinite(losses[-1])
                else (
                    "the loss falls"
                    if losses[-1] <= start
                    else "the loss rises: this rate is too large for plain SGD here"
                ),
                PROXY,
                "transformer-instability-proxy",
                notable=not losses[-1] <= start,
                reference=start,
                against="before them",
            )
        )
    return rows


def _cost(problem: Problem, setting: Setting) -> float:
    steps = STEPS * np.mean(problem.sizes) / problem.examples
    return float((COUNT + 1) * (steps + 0.4))


MEASUREMENTS = (Measurement("rates", "rates", "a short sweep of learning rates", (), _cost, rates),)
