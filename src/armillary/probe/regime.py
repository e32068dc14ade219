"""Regime: did training learn features, or did it stay with those of its start?"""

import jax.numpy as jnp
import numpy as np

from armillary.measure.jackknife import Jackknife, leave_one_out
from armillary.measure.kernels import centred, kernel_alignment
from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, words

LAZY = "How connectivity structure shapes rich and lazy learning in neural circuits (2023)"
GROKKING = "Grokking as the Transition from Lazy to Rich Training Dynamics (2023)"
DISTANCE = "Train longer, generalize better: closing the generalization gap in large batch training (2017)"
EXAMPLES = 96
DRAWS = 4


def tangent_kernel(problem: Problem, setting: Setting, at: np.ndarray | None = None) -> np.ndarray:
    """The tangent kernel of the first examples, traced over the outputs.

    Exact for up to 10 outputs; else the mean over random signs s of the kernel of ⟨s, outputs⟩, which has the same
    expectation. The signs are the problem's own, so that kernels of two checkpoints compare.
    """
    count = setting.keeps(problem, min(EXAMPLES, problem.examples), "regime")
    shape = problem.engine.outputs_shape(next(iter(problem.data)))
    size = int(np.prod(shape)) if shape else 1
    if size <= 10:
        weights = list(np.eye(size))
    else:
        weights = list(np.random.default_rng(size).choice([-1.0, 1.0], (DRAWS, size)))
    kernel = np.zeros((count, count))
    for u in weights:
        outputs = u.reshape(shape).astype(problem.vector.dtype)
        chunks = problem.example_gradients(setting.memory / 8, at=at, outputs=outputs, limit=count)
        rows = np.concatenate(list(chunks))
        kernel += (rows @ rows.T).astype(float)
    return kernel if size <= 10 else kernel / DRAWS


def alignment(a: np.ndarray, b: np.ndarray) -> Jackknife:
    """Kernel alignment with its jackknife error over examples."""
    every = np.arange(len(a))
    without = [every[every != i] for i in every]
    pair = lambda rows: float(
        (a[np.ix_(rows, rows)] * b[np.ix_(rows, rows)]).sum()
        / (np.linalg.norm(a[np.ix_(rows, rows)]) * np.linalg.norm(b[np.ix_(rows, rows)]))
    )
    return leave_one_out(
        float(kernel_alignment(jnp.asarray(a), jnp.asarray(b))), np.array([pair(rows) for rows in without])
    )


def moved(problem: Problem, setting: Setting) -> list[Row]:
    """How far the parameters have gone from their start."""
    assert problem.start is not None
    distance = float(np.linalg.norm(problem.vector - problem.start))
    size = float(np.linalg.norm(problem.start))
    ratio = distance / size
    parts = {
        leaf.name: float(np.linalg.norm(leaf.of(problem.vector) - leaf.of(problem.start)))
        / (float(np.linalg.norm(leaf.of(problem.start))) or 1.0)
        for leaf in problem.leaves
    }
    far = max(
        (leaf.name for leaf in problem.leaves if len(leaf.shape) > 1), key=parts.__getitem__, default=""
    )
    return [
        row(
            "moved",
            "distance moved over length at the start",
            ratio,
            (
                "a short way: weights are still mostly their initial values"
                if ratio < 0.1
                else "weights have moved"
            )
            + (f"; furthest relative to its size: {far}" if far else ""),
            DISTANCE,
            "train-longer-generalize-better",
            reference=2**0.5,
            against="√2, for an unrelated point of the same length",
            layers=parts,
        )
    ]


def kernel(problem: Problem, setting: Setting) -> list[Row]:
    """Alignment of the tangent kernel with the labels, and with the kernel at the start."""
    now = tangent_kernel(problem, setting)
    rows = []
    if problem.start is not None:
        found = alignment(now, tangent_kernel(problem, setting, problem.start))
        value = float(found.value)
        rows.append(
            row(
                "kernel",
                "tangent kernel's alignment with its start",
                value,
                "lazy: the network still learns with the features of its start"
                if value > 0.9
                else "rich: the features that gradients see have changed",
                LAZY,
                "init-rank-laziness",
                error=found.error,
                reference=1.0,
                against="for lazy training",
            )
        )
    if problem.has("labels") and problem.labels.ndim == 1:
        labels = problem.labels[: len(now)]
        same, mine = (
            np.asarray(centred(jnp.asarray(k))) for k in (np.equal.outer(labels, labels).astype(float), now)
        )
        found = alignment(mine, same)
        shuffled = []
        for _ in range(50):
            order = setting.rng.permutation(len(labels))
            shuffled.append(
                float(
                    (mine * same[np.ix_(order, order)]).sum() / (np.linalg.norm(mine) * np.linalg.norm(same))
                )
            )
        rows.append(
            row(
                "kernel",
                "tangent kernel's alignment with the labels",
                found.value,
                f"gradients group the examples by class {words(found.value / max(float(np.mean(shuffled)), 1e-9), 2)} "
                "times as much as with shuffled labels",
                GROKKING,
                "lazy-to-rich-grokking",
                error=found.error,
                reference=float(np.mean(shuffled)),
                against="with shuffled labels",
            )
        )
    return rows


MEASUREMENTS = (
    Measurement("moved", "regime", "distance from the start", ("start",), lambda p, s: 0.01, moved),
    Measurement(
        "kernel",
        "regime",
        "tangent kernel against its start and the labels",
        ("outputs",),
        lambda p, s: 4.0 * min(EXAMPLES, p.examples) / p.examples * (2 if p.start is not None else 1) * 10,
        kernel,
    ),
)
