"""Learning-rate sensitivity: a short sweep of plain SGD from the given parameters."""

import jax.numpy as jnp
import numpy as np

from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, standard_error, words
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

    each = problem.separable

    def train(rate: float, lane: int) -> np.ndarray:
        """The final losses of all examples, or of the micro-batches where examples have none."""
        at, done = problem.vector.copy(), 0
        while done < STEPS:
            for batch in problem.data:
                at -= at.dtype.type(rate) * problem.engine.gradient(at, batch, lane)
                done += 1
                if done == STEPS:
                    break
        if each:
            return np.concatenate([problem.engine.example_losses(at, batch, lane) for batch in problem.data])
        return np.array([problem.engine.loss(at, batch, lane) for batch in problem.data])

    with np.errstate(over="ignore", invalid="ignore"):
        finals = np.array(list(problem._each(train, [float(r) for r in grid])), float)
        losses = np.average(finals, axis=1, weights=None if each else problem.sizes)
    start = problem.base_loss
    sweep = losses[:COUNT]
    safe = grid[:COUNT][np.isfinite(sweep) & (sweep <= start)]
    lowest = int(np.argmin(np.where(np.isfinite(sweep), sweep, np.inf)))
    best, gained = (
        float(grid[lowest]),
        max(start - float(np.nan_to_num(sweep[lowest], nan=start, posinf=start)), 0),
    )
    rate = setting.learning_rate
    error = at_rate = None
    if each and problem.examples > 1:
        before = problem.base_example_losses
        kept = (np.isfinite(sweep) & (sweep <= start))[:, None]
        given = np.where(kept, finals[:COUNT], before)
        error = standard_error(given.mean(0) - given[lowest])
        at_rate = standard_error(finals[-1] - before) if np.isfinite(losses[-1]) else None
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
            error=float(safe.max()) if len(safe) else None,
            error_kind="to the next rate tried",
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
            error=error,
            reference=gained,
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
                error=at_rate,
                error_kind="standard error of the change",
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
