"""Representation: neural collapse of the last features, and how many dimensions they use."""

import jax.numpy as jnp
import numpy as np

from armillary.measure.jackknife import jackknife
from armillary.measure.neural_collapse import neural_collapse
from armillary.probe.problem import Problem
from armillary.probe.rows import Measurement, Row, Setting, row, words
from armillary.represent import effective_rank

COLLAPSE = "Neural Collapse in Deep Linear Networks: From Balanced to Imbalanced Data (2023)"
RANK = "The Effective Rank: A Measure of Effective Dimensionality (2007)"


def _features(problem: Problem, setting: Setting) -> np.ndarray:
    if "features" not in setting.found:
        features = problem.gathered("features")
        setting.found["features"] = features.reshape(len(features), -1)
    return setting.found["features"]


def collapse(problem: Problem, setting: Setting) -> list[Row]:
    """NC1 to NC4."""
    features, labels, classes = _features(problem, setting), problem.labels, problem.classes
    counts = np.bincount(labels, minlength=classes or 0)
    if (counts < 3).any():
        raise ValueError(f"class {int(counts.argmin())} has fewer than 3 examples")
    weights = problem.engine.classifier(None) if problem.has("classifier") else None
    if weights is not None and weights.shape != (classes, features.shape[1]):
        weights = None
    outputs = problem.gathered("outputs") if problem.has("outputs") else None
    if outputs is not None and outputs.shape != (len(features), classes):
        outputs = None
    # Every tenth example of each class, so that no class is lost.
    order = np.argsort(labels, kind="stable")

    def measures(rows: np.ndarray) -> tuple[float | None, ...]:
        rows = order[rows]
        parts = (
            None if a is None else jnp.asarray(a)
            for a in (weights, None if outputs is None else outputs[rows])
        )
        found = neural_collapse(
            jnp.asarray(features[rows]), jnp.asarray(labels[rows]), *parts, classes=classes
        )
        return tuple(None if v is None else float(v) for v in found)

    cache: dict[bytes, tuple[float | None, ...]] = {}

    def one(place: int) -> tuple[float, float]:
        def statistic(rows: np.ndarray) -> float:
            mark = rows.tobytes()
            if mark not in cache:
                cache[mark] = measures(rows)
            value = cache[mark][place]
            assert value is not None
            return value

        found = jackknife(statistic, len(features))
        return float(found.value), float(found.error)

    texts = [
        ("NC1: spread within classes over spread between", "features vary {} within a class"),
        ("NC2: class means' distance from a simplex", "class means lie {} the corners of a regular simplex"),
        ("NC3: classifier's distance from class means", "the last layer's rows {} the class means"),
        ("NC4: examples not given to the nearest class mean", "the classifier {} by the nearest class mean"),
    ]
    meanings = [
        lambda v: "hardly vary" if v < 0.1 else "still vary",
        lambda v: "nearly at" if v < 0.3 else "away from",
        lambda v: "point along" if v < 0.3 else "do not yet point along",
        lambda v: "decides" if v < 0.02 else "does not simply decide",
    ]
    rows = []
    for place, ((quantity, sentence), words_of) in enumerate(zip(texts, meanings)):
        if measures(np.arange(len(features)))[place] is None:
            continue
        value, error = one(place)
        if place == 0:
            sentence = f"features {words_of(value)} within a class, against the distance between classes"
        else:
            sentence = sentence.format(words_of(value))
        rows.append(
            row(
                "collapse",
                quantity,
                value,
                sentence,
                COLLAPSE,
                "deep-linear-neural-collapse",
                error=error,
                reference=0.0,
                against="fully collapsed",
            )
        )
    return rows


def rank(problem: Problem, setting: Setting) -> list[Row]:
    """The effective rank of the last features."""
    features = _features(problem, setting)
    if len(features) < 3:
        raise ValueError("fewer than 3 examples")
    found = jackknife(lambda rows: float(effective_rank(jnp.asarray(features[rows]))), len(features))
    width, classes = features.shape[1], problem.classes
    limit = min(width, len(features) - 1)
    return [
        row(
            "rank",
            "effective rank of the features",
            found.value,
            f"the features use about {words(float(found.value), 2)} of their {width} dimensions"
            + (f"; full collapse would leave {classes - 1}" if classes else ""),
            RANK,
            "multi-view-contrast",
            error=found.error,
            reference=limit,
            against="the width, or examples less one",
            singular_values=np.linalg.svd(features - features.mean(0), compute_uv=False),
        )
    ]


MEASUREMENTS = (
    Measurement(
        "collapse",
        "representation",
        "neural collapse, NC1 to NC4",
        ("features", "labels"),
        lambda p, s: 1.0,
        collapse,
    ),
    Measurement(
        "rank", "representation", "effective rank of the features", ("features",), lambda p, s: 0.5, rank
    ),
)
