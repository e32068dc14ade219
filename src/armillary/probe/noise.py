"""Noise: how far the gradients of single examples agree."""

import numpy as np

from armillary.measure.noise_scale import (
    gaussian_share,
    gradient_noise,
    opposing_groups,
    overlap_from_sums,
)
from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, words

SCALE = "An Empirical Model of Large-Batch Training (2018)"
COHERENCE = "On the Generalization Mystery in Deep Learning (2022)"
OPPOSING = "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization (2023)"
LISTED = 10
PART = 0.05


def noise(problem: Problem, setting: Setting) -> list[Row]:
    """Gradient noise scale, coherence, examples that pull apart: one pass over per-example gradients."""
    mean = problem.gradient()
    directions = [mean]
    if (direction := setting.found.get("direction")) is not None:
        directions.append(direction)
    squares, products = [], []
    for chunk in problem.example_gradients(min(setting.memory / 4, 2e9)):
        squares.append(np.einsum("ij,ij->i", chunk, chunk, dtype=float))
        products.append(np.stack([chunk @ d for d in directions]))
    square = np.concatenate(squares)
    along = np.concatenate(products, axis=1).astype(float)
    total = float(mean.astype(float) @ mean)
    found = gradient_noise(square, along[0], total)
    scale, batch, m = float(found.scale.value), setting.batch_size, problem.examples
    finite = bool(np.isfinite(scale))
    rows = [
        row(
            "noise",
            "gradient noise scale (critical batch)",
            scale if finite else None,
            _scale(scale, batch),
            SCALE,
            "batch-hessian-learning-rate",
            error=found.scale.error if finite and np.isfinite(found.scale.error) else None,
            reference=batch,
            against="the batch size" if batch else "the batch size: pass it",
        ),
        row(
            "noise",
            "gradient norm, less sampling noise",
            found.norm.value,
            "the sample's gradient is not above its own noise: as at a minimum"
            if found.norm.value == 0
            else f"the loss still has a slope: the sample's gradient is {words(total**0.5)} long",
            SCALE,
            "sgd-noise-regimes",
            error=found.norm.error,
            reference=((square.mean() - total) / m) ** 0.5 if square.mean() > total else 0.0,
            against="noise of a mean over the examples",
        ),
        row(
            "noise",
            "coherence of the examples' gradients",
            found.coherence.value,
            f"on average a step for one example helps {words(float(found.coherence.value))} of {m} examples as much as itself",
            COHERENCE,
            "gradient-coherence",
            error=found.coherence.error,
            reference=1.0,
            against=f"for unrelated examples; {m} for identical ones",
        ),
    ]
    overlap = overlap_from_sums(square, along[0], total)
    share = float((overlap < 0).mean())
    worst = np.argsort(overlap, kind="stable")[:LISTED]
    rows.append(
        row(
            "noise",
            "examples that the others' step sets back",
            share,
            f"furthest against the rest: {_listed(worst)}; hard or mislabelled examples are found here",
            COHERENCE,
            "gradient-coherence",
            error=(share * (1 - share) / m) ** 0.5,
            reference=0.5,
            against="for unrelated examples",
            indices=worst,
            cosines=overlap[worst],
        )
    )
    if direction is not None:
        rows.append(_opposing(along[1]))
    return rows


def _opposing(slopes: np.ndarray) -> Row:
    m = len(slopes)
    largest = max(2, round(PART * m))
    heavy = np.sort(slopes**2)[::-1]
    share = heavy[:largest].sum() / heavy.sum() if heavy.sum() else 0.0
    groups = opposing_groups(slopes, LISTED)
    every = np.arange(m) % 10
    without = np.array([_share(slopes[every != g]) for g in range(10)])
    return row(
        "noise",
        f"steepest direction carried by {PART:.0%} of examples",
        share,
        f"along it examples {_listed(groups.up)} get worse while {_listed(groups.down)} get better",
        OPPOSING,
        "opposing-signals",
        error=(0.9 * ((without - without.mean()) ** 2).sum()) ** 0.5,
        reference=gaussian_share(PART),
        against="if slopes were normal",
        up=groups.up,
        down=groups.down,
        slopes=slopes,
    )


def _share(slopes: np.ndarray) -> float:
    heavy = np.sort(slopes**2)[::-1]
    return heavy[: max(2, round(PART * len(slopes)))].sum() / heavy.sum() if heavy.sum() else 0.0


def _listed(indices: np.ndarray) -> str:
    return ", ".join(map(str, indices[:5])) or "none"


def _scale(scale: float, batch: int | None) -> str:
    if not np.isfinite(scale):
        return "the mean gradient is lost in the noise: near a minimum no batch is large enough"
    if batch is None:
        return "batches well below it double their worth when doubled; well above it little is gained"
    if batch < scale / 2:
        return f"batches of {batch} are mostly noise: a larger one would buy steps almost in proportion"
    if batch > 2 * scale:
        return f"batches of {batch} are mostly signal: a larger one would hardly save steps"
    return f"batches of {batch} are near the turn: noise and signal are about equal"


MEASUREMENTS = (
    Measurement(
        "noise",
        "noise",
        "noise scale, critical batch, coherence, examples that pull apart",
        ("separable",),
        lambda p, s: 4.0,
        noise,
    ),
)
