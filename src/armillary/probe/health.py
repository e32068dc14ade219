"""Health of a transformer, and of any network's layers: attention, output logits, dead units, norms."""

from typing import Any

import numpy as np

from armillary.probe.problem import Leaf, Problem
from armillary.probe.rows import Measurement, Row, Setting, row, standard_error, words

PROXY = "Small-scale proxies for large-scale Transformer training instabilities (2023)"
RATES = "No More Adam: Learning Rate Scaling at Initialization is All You Need (2024)"
EVONORM = "Evolving Normalization-Activation Layers (2020)"
MASKED = -1e30


def attention_summary(logits: np.ndarray) -> dict[str, Any]:
    """Of one layer's attention logits [..., queries, keys]: the largest in size, and the entropies' sums.

    Entropy is taken relative to the uniform one over the keys that a query may see; queries that see one key
    only are left out.
    """
    seen = logits > MASKED
    keys = seen.sum(-1)
    shifted = np.where(seen, logits, -np.inf)
    with np.errstate(invalid="ignore"):
        shifted = shifted - shifted.max(-1, keepdims=True)
    weights = np.where(seen, np.exp(np.where(seen, shifted, 0)), 0.0)
    total = weights.sum(-1)
    # Σ p log p with p = w/Σw and log p = shifted - log Σw.
    entropy = np.log(np.maximum(total, 1e-30)) - (weights * np.where(seen, shifted, 0)).sum(-1) / np.maximum(
        total, 1e-30
    )
    counts = keys > 1
    relative = np.where(counts, entropy / np.log(np.maximum(keys, 2)), 0.0)
    # One number an example: the first axis that is not layers is examples or heads; spread is taken over queries.
    used = max(int(counts.sum()), 1)
    mean = relative.sum() / used
    return {
        "largest": float(np.max(np.abs(np.where(seen, logits, 0.0)))),
        "entropy": float(mean),
        "square": float((np.where(counts, relative, 0) ** 2).sum() / used),
        "queries": int(counts.sum()),
        "keys": int(keys.max()),
    }


def _layers(problem: Problem, at: np.ndarray | None = None) -> dict[str, dict[str, Any]]:
    """Each layer's summary over all micro-batches."""
    merged: dict[str, list[dict[str, Any]]] = {}
    for found in problem.observe(at, attention=attention_summary):
        for name, calls in found["attention"].items():
            merged.setdefault(name, []).extend(calls)
    layers = {}
    for name, parts in merged.items():
        weights = np.array([p["queries"] for p in parts], float)
        share = weights / max(weights.sum(), 1)
        entropy = float(share @ [p["entropy"] for p in parts])
        square = float(share @ [p["square"] for p in parts])
        layers[name] = {
            "largest": max(p["largest"] for p in parts),
            "entropy": entropy,
            "error": (max(square - entropy**2, 0) / max(weights.sum(), 1)) ** 0.5,
            "keys": max(p["keys"] for p in parts),
        }
    return layers


def attention(problem: Problem, setting: Setting) -> list[Row]:
    """The largest attention logit and the least entropy of attention, layer by layer."""
    layers = _layers(problem)
    if not layers:
        raise ValueError("no attention was seen in the model's forward pass")
    highest = max(layers, key=lambda n: layers[n]["largest"])
    lowest = min(layers, key=lambda n: layers[n]["entropy"])
    keys = max(one["keys"] for one in layers.values())
    reference = float(np.log(99 * max(keys - 1, 1)))
    value = layers[highest]["largest"]
    before = _layers(problem, problem.start) if problem.start is not None else None
    rows = [
        row(
            "attention",
            "largest attention logit",
            value,
            (
                "large enough that single keys can take all of the attention"
                if value > reference
                else "too small for one key to take all of the attention"
            )
            + f"; in {highest}",
            PROXY,
            "transformer-instability-proxy",
            reference=reference,
            against="ln 99(S-1): one key of S stands out to 99%",
            logits={name: one["largest"] for name, one in layers.items()},
        ),
        row(
            "attention",
            "least attention entropy of a layer, over uniform",
            layers[lowest]["entropy"],
            (
                "attention has collapsed onto few keys"
                if layers[lowest]["entropy"] < 0.1
                else "attention is still spread"
            )
            + f" in {lowest}",
            PROXY,
            "transformer-instability-proxy",
            error=layers[lowest]["error"],
            reference=1.0,
            against="for uniform; 0 for one key",
            notable=layers[lowest]["entropy"] < 0.1,
            entropies={name: one["entropy"] for name, one in layers.items()},
        ),
    ]
    if before:
        past = max(one["largest"] for one in before.values())
        rows.append(
            row(
                "attention",
                "growth of the largest attention logit",
                value / past if past else None,
                "logits that keep growing end in collapsed attention; normalized queries and keys bound them"
                if value > 2 * past
                else "the logits have hardly grown since the start",
                PROXY,
                "transformer-instability-proxy",
                reference=1.0,
                against="as at the start",
                notable=value > 4 * past,
            )
        )
    return rows


def drift(problem: Problem, setting: Setting) -> list[Row]:
    """The output logits' log-normalizer."""

    def log_z(outputs: np.ndarray) -> np.ndarray:
        top = outputs.max(-1, keepdims=True)
        found = np.log(np.exp(outputs - top).sum(-1)) + top[..., 0]
        return found.reshape(len(found), -1).mean(1)

    each = np.concatenate([f["outputs"] for f in problem.observe(None, outputs=log_z)])
    value = float(each.mean())
    return [
        row(
            "drift",
            "mean log Z of the output logits",
            value,
            "the logits are nearly log-probabilities"
            if abs(value) < 1
            else "the logits have drifted from log-probabilities; a z-loss would hold them",
            PROXY,
            "transformer-instability-proxy",
            error=standard_error(each),
            reference=0.0,
            against="where logits are log-probabilities",
        )
    ]


def units(problem: Problem, setting: Setting) -> list[Row]:
    """Hidden units that never change their output over the data."""

    def extremes(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        flat = array.reshape(-1, array.shape[-1])
        return flat.min(0), flat.max(0)

    merged: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for found in problem.observe(None, activations=extremes):
        for name, calls in found["activations"].items():
            for low, high in calls:
                past = merged.get(name, (low, high))
                merged[name] = np.minimum(past[0], low), np.maximum(past[1], high)
    if not merged:
        raise ValueError("no activation function was seen in the model's forward pass")
    dead = {
        name: (high - low <= 1e-6 * np.maximum(np.abs(high), 1e-6)) for name, (low, high) in merged.items()
    }
    count, total = sum(int(d.sum()) for d in dead.values()), sum(d.size for d in dead.values())
    worst = max(dead, key=lambda n: dead[n].mean())
    return [
        row(
            "units",
            "dead hidden units",
            count / total,
            f"{count} of {total} units give the same output for every example"
            + (f", most of them in {worst}" if count else ""),
            EVONORM,
            "evonorm-layers",
            reference=0.0,
            against="none",
            notable=count > 0.05 * total,
            dead={name: float(d.mean()) for name, d in dead.items()},
        )
    ]


def _length_error(problem: Problem, leaf: Leaf, mean: np.ndarray) -> float | None:
    """Of the length of one layer's gradient, by leaving out one micro-batch at a time."""
    n, share = len(problem.sizes), np.array(problem.sizes) / problem.examples
    if n < 3:
        return None
    parts = problem._each(lambda b, lane: leaf.of(problem.engine.gradient(None, b, lane)))
    lengths = np.array([np.linalg.norm((mean - s * part) / (1 - s)) for s, part in zip(share, parts)])
    return float(((n - 1) / n * ((lengths - lengths.mean()) ** 2).sum()) ** 0.5)


def norms(problem: Problem, setting: Setting) -> list[Row]:
    """Each layer's gradient against its weights."""
    gradient = problem.gradient()
    layers = {}
    for leaf in problem.leaves:
        if len(leaf.shape) < 2:
            continue
        weight = float(np.linalg.norm(leaf.of(problem.vector)))
        layers[leaf.name] = {
            "weight": weight / leaf.of(problem.vector).size ** 0.5,
            "ratio": float(np.linalg.norm(leaf.of(gradient))) / weight if weight else 0.0,
        }
    if not layers:
        raise ValueError("no parameter has two or more axes")
    ratios = {name: one["ratio"] for name, one in layers.items()}
    largest, median = max(ratios, key=ratios.__getitem__), float(np.median(list(ratios.values())))
    spread = ratios[largest] / median if median else np.inf
    rate = setting.learning_rate
    (worst,) = (leaf for leaf in problem.leaves if leaf.name == largest)
    error = _length_error(problem, worst, worst.of(gradient))
    step = f"; one step of η moves it by {words(rate * ratios[largest], 2)} of its length" if rate else ""
    return [
        row(
            "norms",
            "largest gradient over weight norm of a layer",
            ratios[largest],
            f"{words(spread, 2)} times the median layer's, in {largest}{step}",
            RATES,
            "sgd-scaling-at-init",
            error=None if error is None else error / (float(np.linalg.norm(worst.of(problem.vector))) or 1.0),
            reference=median,
            against="the median layer's",
            ratios=ratios,
            weights={name: one["weight"] for name, one in layers.items()},
        )
    ]


MEASUREMENTS = (
    Measurement(
        "attention",
        "health",
        "attention logits and entropy",
        ("attention",),
        lambda p, s: 0.7 if p.start is None else 1.4,
        attention,
    ),
    Measurement("drift", "health", "output-logit drift", ("logits",), lambda p, s: 0.5, drift),
    Measurement("units", "health", "dead units", ("activations",), lambda p, s: 0.5, units),
    Measurement("norms", "health", "norms a layer", (), lambda p, s: 2.0, norms),
)
