"""Fragility: what pruning, rounding and small changes of the inputs do to the loss."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from armillary.compress import global_magnitude_mask, round_symmetric
from armillary.probe.problem import Batch, Leaf, Problem
from armillary.probe.rows import Measurement, Row, Setting, row, standard_error, words

PRUNING = "Is Complexity Required for Neural Network Pruning? A Case Study on Global Magnitude Pruning (2022)"
ROUNDING = "BAQ: Efficient Bit Allocation Quantization for Large Language Models (2025)"
COUPLING = (
    "Augmenting Hessians with Inter-Layer Dependencies for Mixed-Precision Post-Training Quantization (2023)"
)
ADVERSARIAL = (
    "A Simple Fine-tuning Is All You Need: Towards Robust Deep Learning Via Adversarial Fine-tuning (2020)"
)
SPARSITIES = (0.2, 0.5, 0.8, 0.9)
BITS = (8, 4, 3)
RADIUS = 0.05
DRAWS = 4


def _weights(problem: Problem) -> list[Leaf]:
    """What pruning and rounding touch: arrays of two or more axes (no biases, no gains)."""
    found = [leaf for leaf in problem.leaves if len(leaf.shape) > 1]
    if not found:
        raise ValueError("no parameter has two or more axes")
    return found


def _rise(problem: Problem, at: np.ndarray) -> tuple[float, float, float | None]:
    """The loss elsewhere, its rise, and the rise's standard error over examples (the same ones at both)."""
    if not problem.separable:
        value = problem.loss(at)
        return value, value - problem.base_loss, None
    return _paired(problem.base_example_losses, problem.example_losses(at))


def _paired(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float | None]:
    change = after - before
    return float(after.mean()), float(change.mean()), standard_error(change)


def pruned(problem: Problem, leaves: Sequence[Leaf], sparsity: float) -> np.ndarray:
    """The parameters with a share of all weights, the smallest, set to 0."""
    masks = global_magnitude_mask([leaf.of(problem.vector) for leaf in leaves], sparsity)
    at = problem.vector.copy()
    for leaf, mask in zip(leaves, masks):
        at[leaf.start : leaf.stop] *= np.asarray(mask).ravel()
    return at


def rounded(problem: Problem, leaves: Sequence[Leaf], bits: int) -> np.ndarray:
    """The parameters with some layers' weights rounded, one scale a layer."""
    at = problem.vector.copy()
    for leaf in leaves:
        at[leaf.start : leaf.stop] = np.asarray(
            round_symmetric(jnp.asarray(leaf.of(problem.vector)), bits)
        ).ravel()
    return at


def _change(rise: float, base: float) -> str:
    return f"{'a rise of' if rise >= 0 else 'a fall of'} {words(abs(rise), 2)} on a loss of {words(base)}"


def pruning(problem: Problem, setting: Setting) -> list[Row]:
    """The loss after global magnitude pruning."""
    leaves = _weights(problem)
    curve = [_rise(problem, pruned(problem, leaves, s)) for s in SPARSITIES]
    return [
        row(
            "pruning",
            f"loss without {sparsity:.0%} of the weights",
            value,
            f"the smallest weights removed, none retrained: {_change(rise, problem.base_loss)}",
            PRUNING,
            "global-magnitude-pruning",
            error=error,
            error_kind="standard error of the rise",
            reference=problem.base_loss,
            against="with all weights",
            sparsity=sparsity,
        )
        for sparsity, (value, rise, error) in zip(SPARSITIES, curve)
    ]


def rounding(problem: Problem, setting: Setting) -> list[Row]:
    """The loss after rounding all layers to 8, 4 and 3 bits."""
    leaves = _weights(problem)
    rows = []
    for bits in BITS:
        value, rise, error = _rise(problem, rounded(problem, leaves, bits))
        rows.append(
            row(
                "rounding",
                f"loss with weights of {bits} bits",
                value,
                f"every layer rounded to {2**bits - 1} levels: {_change(rise, problem.base_loss)}",
                ROUNDING,
                "bit-allocation-quantization",
                error=error,
                error_kind="standard error of the rise",
                reference=problem.base_loss,
                against="with full precision",
                bits=bits,
            )
        )
    return rows


def layers(problem: Problem, setting: Setting) -> list[Row]:
    """The rise of the loss with one layer at a time rounded to 3 bits."""
    rises, errors = {}, {}
    for leaf in _weights(problem):
        _, rises[leaf.name], errors[leaf.name] = _rise(problem, rounded(problem, [leaf], BITS[-1]))
    worst = max(rises, key=rises.__getitem__)
    together = _rise(problem, rounded(problem, _weights(problem), BITS[-1]))[1]
    total = sum(rises.values())
    return [
        row(
            "layers",
            f"most fragile layer's rise at {BITS[-1]} bits",
            rises[worst],
            f"keep {worst} precise; single rises add up to {words(total, 2)}, all layers together cost "
            f"{words(together, 2)}",
            COUPLING,
            "hessian-layer-coupling",
            error=errors[worst],
            reference=float(np.median(list(rises.values()))),
            against="the median layer's",
            rises=rises,
        )
    ]


def inputs(problem: Problem, setting: Setting) -> list[Row]:
    """The loss under adversarial and random changes of the inputs, of equal norm an example."""
    engine, each = problem.engine, problem.separable
    rows, adversarial, before, lengths = [], [], [], []
    noisy: list[list[np.ndarray]] = [[] for _ in range(DRAWS)]

    def losses(batch: Batch) -> np.ndarray:
        return engine.example_losses(None, batch, 0) if each else np.array([engine.loss(None, batch, 0)])

    for batch in problem.data:
        x = engine.inputs(batch)
        flat = x.reshape(len(x), -1)
        radius = RADIUS * np.linalg.norm(flat, axis=1).mean()
        gradient = engine.input_gradient(batch, 0).reshape(len(x), -1)
        lengths.append(radius)
        before.append(losses(batch))
        adversarial.append(losses(engine.with_inputs(batch, _moved(x, radius, gradient))))
        for draw in noisy:
            direction = setting.rng.standard_normal(flat.shape)
            draw.append(losses(engine.with_inputs(batch, _moved(x, radius, direction))))
    start = np.concatenate(before)
    random = np.mean([np.concatenate(d) for d in noisy], axis=0)
    worst = np.concatenate(adversarial)
    if not each:
        weights = np.array(problem.sizes) / problem.examples * len(start)
        start, random, worst = start * weights, random * weights, worst * weights
    length = float(np.mean(lengths))
    a, b = _paired(start, worst), _paired(start, random)
    ratio = a[1] / b[1] if b[1] > 0 else np.inf
    for quantity, (value, rise, error), reference, against, meaning in (
        (
            "loss under random changes of the inputs",
            b,
            problem.base_loss,
            "with unchanged inputs",
            f"inputs moved by {words(length, 2)} ({RADIUS:.0%} of their length) at random: "
            + _change(b[1], problem.base_loss),
        ),
        (
            "loss under adversarial changes of equal length",
            a,
            b[0],
            "under random changes",
            f"moved along the gradient instead: {_change(a[1], problem.base_loss)}"
            + (f", {words(ratio, 2)} times the random one's" if np.isfinite(ratio) and ratio > 0 else ""),
        ),
    ):
        rows.append(
            row(
                "inputs",
                quantity,
                value,
                meaning,
                ADVERSARIAL,
                "adversarial-fine-tuning",
                error=error if each else None,
                error_kind="standard error of the rise",
                reference=reference,
                against=against,
                rise=rise,
            )
        )
    return rows


def _moved(x: np.ndarray, radius: float, direction: np.ndarray) -> np.ndarray:
    """Every example moved by the same length, along its row of `direction`."""
    norm = np.linalg.norm(direction, axis=1, keepdims=True)
    step = radius * direction / np.where(norm > 0, norm, 1)
    return (x + step.reshape(x.shape)).astype(x.dtype)


def _passes(problem: Problem) -> int:
    return sum(len(leaf.shape) > 1 for leaf in problem.leaves)


MEASUREMENTS = (
    Measurement(
        "pruning",
        "fragility",
        "loss without the smallest weights",
        (),
        lambda p, s: 0.5 * len(SPARSITIES),
        pruning,
    ),
    Measurement(
        "rounding", "fragility", "loss with 8, 4 and 3 bits", (), lambda p, s: 0.5 * len(BITS), rounding
    ),
    Measurement(
        "layers",
        "fragility",
        "each layer at 3 bits by itself",
        (),
        lambda p, s: 0.5 * (_passes(p) + 1),
        layers,
    ),
    Measurement(
        "inputs",
        "fragility",
        "adversarial against random changes of the inputs",
        ("inputs",),
        lambda p, s: 1.5 + 0.5 * (DRAWS + 2),
        inputs,
    ),
)
