"""Two checkpoints, or two models: barrier between them, before and after matching, and how alike they are."""

import jax.numpy as jnp
import numpy as np

from armillary.measure.barrier import path_barrier
from armillary.measure.jackknife import jackknife
from armillary.probe.problem import Problem
from armillary.probe.regime import alignment, tangent_kernel
from armillary.probe.rows import Measurement, Row, Setting, row, standard_error, words
from armillary.represent import linear_cka

LANDSCAPE = "Landscaping Linear Mode Connectivity (2024)"
CKA = "A Model Zoo on Phase Transitions in Neural Networks (2025)"
LAZY = "How connectivity structure shapes rich and lazy learning in neural circuits (2023)"
POINTS = 11


def _line(problem: Problem, end: np.ndarray) -> tuple[np.ndarray, float, float | None]:
    """The loss along the line, its barrier, and the barrier's standard error over examples."""
    places = np.linspace(0, 1, POINTS, dtype=problem.vector.dtype)
    points = ((1 - t) * problem.vector + t * end for t in places)
    if not problem.separable:
        losses = np.array([problem.loss(at) for at in points])
        return losses, float(path_barrier(jnp.asarray(losses))), None
    each = np.array([problem.example_losses(at) for at in points])
    losses = each.mean(1)
    rise = each[losses.argmax()] - each[0 if losses[0] > losses[-1] else -1]
    return losses, float(path_barrier(jnp.asarray(losses))), standard_error(rise)


def barrier(problem: Problem, setting: Setting) -> list[Row]:
    """The loss along the straight line, before and after the second model's units are permuted to match."""
    assert problem.other is not None
    losses, height, error = _line(problem, problem.other)
    scale = max(float(losses[0]), float(losses[-1]))
    rows = [
        row(
            "barrier",
            "barrier on the straight line to the other model",
            height,
            "the two lie in one basin: their weights may be averaged"
            if height < 0.05 * scale
            else "the loss rises between them: their average is worse than either",
            LANDSCAPE,
            "landscaping-lmc",
            error=error,
            reference=scale,
            against="the larger end's loss",
            losses=losses,
        )
    ]
    if problem.permuted is not None:
        try:
            matched = problem.permuted(problem.vector, problem.other)
        except ValueError as unmatched:  # an operation through which units cannot be followed
            rows[0].detail["unmatched"] = str(unmatched)
            setting.tell(f"barrier: units were not matched: {unmatched}")
            return rows
        after, left, error = _line(problem, matched)
        rows.append(
            row(
                "barrier",
                "the same after matching units by their weights",
                left,
                f"permuting units leaves {words(left / height, 2)} of the barrier"
                if height > 1e-3 * scale
                else "there was no barrier to remove",
                LANDSCAPE,
                "landscaping-lmc",
                error=error,
                reference=height,
                against="before matching",
                losses=after,
            )
        )
    return rows


def similarity(problem: Problem, setting: Setting) -> list[Row]:
    """CKA of the last features, alignment of the tangent kernels."""
    rows = []
    if problem.has("features"):
        a, b = (
            f.reshape(len(f), -1)
            for f in (problem.gathered("features"), problem.gathered("features", problem.other))
        )
        found = jackknife(lambda r: float(linear_cka(jnp.asarray(a[r]), jnp.asarray(b[r]))), len(a))
        order = setting.rng.permutation(len(a))
        rows.append(
            row(
                "similarity",
                "CKA of the last features with the other model's",
                found.value,
                "the two see the data much alike"
                if found.value > 0.8
                else "the two see the data differently",
                CKA,
                "phase-model-zoo",
                error=found.error,
                reference=float(linear_cka(jnp.asarray(a), jnp.asarray(b[order]))),
                against="with the examples shuffled",
            )
        )
    if problem.has("outputs"):
        found = alignment(tangent_kernel(problem, setting), tangent_kernel(problem, setting, problem.other))
        rows.append(
            row(
                "similarity",
                "tangent kernel's alignment with the other model's",
                found.value,
                "a step on one example moves the others alike in both"
                if found.value > 0.9
                else "a step on one example spreads differently in the two",
                LAZY,
                "init-rank-laziness",
                error=found.error,
                reference=1.0,
                against="for the same kernel",
            )
        )
    if not rows:
        raise ValueError("neither features= nor outputs= is known")
    return rows


MEASUREMENTS = (
    Measurement(
        "barrier",
        "pair",
        "loss between two models, before and after matching",
        ("other",),
        lambda p, s: 0.4 * POINTS * (2 if p.permuted else 1),
        barrier,
    ),
    Measurement(
        "similarity",
        "pair",
        "CKA and kernel similarity of two models",
        ("other",),
        lambda p, s: 0.7 + (80.0 * min(96, p.examples) / p.examples if p.has("outputs") else 0),
        similarity,
    ),
)
