"""How noisy a batch's gradient is, and how far single examples agree with it, from a few sums over examples."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from armillary.measure.jackknife import Jackknife, leave_one_out


class GradientNoise(NamedTuple):
    """Each with the standard error of leaving out one example after another."""

    scale: Jackknife
    """tr Σ / ‖G‖²: the batch size at which noise and signal are equal; examples."""
    norm: Jackknife
    """‖G‖, with the noise of the sample taken out; 0 where it is not above the noise."""
    coherence: Jackknife
    """m-coherence: how many examples one example's step helps."""


def gradient_noise(
    squares: Float[np.ndarray, " examples"], products: Float[np.ndarray, " examples"], square: float
) -> GradientNoise:
    """The gradient noise scale and the coherence of per-example gradients gᵢ that are never stored together.

    "An Empirical Model of Large-Batch Training" (McCandlish et al. 2018), eq. 2.9 and appendix A.1, for the scale;
    "On the Generalization Mystery in Deep Learning" (2022), section 2, for the coherence. With G the sample's
    mean gradient, tr Σ is estimated by m/(m-1) (mean ‖gᵢ‖² - ‖G‖²) and the true ‖G‖² by ‖G‖² - tr Σ/m.

    **Arguments:**

    - `squares`: ‖gᵢ‖².
    - `products`: ⟨gᵢ, G⟩.
    - `square`: ‖G‖².

    **Returns:** a [`GradientNoise`][armillary.measure.GradientNoise]. The scale is inf where the gradient is not
    above its own sampling noise (at a minimum of the loss, say).

    **Raises:** `ValueError` for fewer than 3 examples.
    """
    squares, products = np.asarray(squares, float), np.asarray(products, float)
    m = len(squares)
    if m < 3:
        raise ValueError(f"{m} examples: a spread needs 3 or more")

    def three(total: np.ndarray, square: np.ndarray, m: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean = total / m
        noise = m / (m - 1) * np.maximum(mean - square, 0)
        signal = np.maximum(square - noise / m, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return noise / signal, np.sqrt(signal), m * square / mean

    # ‖G‖² without example i, from the sums alone.
    others = np.maximum(m**2 * square - 2 * m * products + squares, 0) / (m - 1) ** 2
    whole = three(squares.sum(), np.asarray(float(square)), m)
    without = three(squares.sum() - squares, others, m - 1)
    estimates = [leave_one_out(float(v), w) for v, w in zip(whole, without)]
    # m · ‖G‖²/mean ‖gᵢ‖² shrinks with the example that is left out; its share of m does not.
    share = leave_one_out(float(whole[2]) / m, without[2] / (m - 1))
    estimates[2] = Jackknife(float(whole[2]), m * share.error)
    return GradientNoise(*estimates)


def overlap_from_sums(
    squares: Float[np.ndarray, " examples"], products: Float[np.ndarray, " examples"], square: float
) -> Float[np.ndarray, " examples"]:
    """Each example's cosine with the sum of the others' gradients: `example_overlap` without the gradients.

    **Arguments:** as for [`gradient_noise`][armillary.measure.gradient_noise].
    """
    squares, products = np.asarray(squares, float), np.asarray(products, float)
    m = len(squares)
    inner = m * products - squares
    others = np.maximum(m**2 * square - 2 * m * products + squares, 0)
    scale = np.sqrt(squares * others)
    return np.where(scale > 0, inner / np.where(scale > 0, scale, 1), 0.0)


class OpposingGroups(NamedTuple):
    """Examples that one direction drives apart."""

    up: np.ndarray
    """Indices of the examples whose loss rises most along the direction, the strongest first."""
    down: np.ndarray
    """Of those whose loss falls most."""
    share: float
    """The share of Σ slope² that the two groups carry; `gaussian_share` is what normal slopes would have."""


def opposing_groups(slopes: Float[np.ndarray, " examples"], count: int) -> OpposingGroups:
    """The groups of examples whose losses a step along a steep direction drives in opposite senses.

    "Outliers with Opposing Signals Have an Outsized Effect on Neural Network Optimization" (2023) finds, from one
    step to the next, groups whose losses swing far more than all others' and against each other. To first order
    the swing of example i along a direction v is its slope ⟨gᵢ, v⟩.

    **Arguments:**

    - `slopes`: ⟨gᵢ, v⟩, for v the Hessian's leading eigenvector.
    - `count`: how many examples on either side, at most.
    """
    slopes = np.asarray(slopes, float)
    order = np.argsort(-slopes, kind="stable")
    up = [i for i in order[:count] if slopes[i] > 0]
    down = [i for i in order[::-1][:count] if slopes[i] < 0]
    total = (slopes**2).sum()
    share = (slopes[[*up, *down]] ** 2).sum() / total if total else 0.0
    return OpposingGroups(np.array(up, int), np.array(down, int), float(share))


def gaussian_share(part: float) -> float:
    """The share of Σ z² that the `part` of largest |z| carries, for z normal: 2 (q φ(q) + 1 - Φ(q))."""
    from scipy.stats import norm

    q = norm.ppf(1 - part / 2)
    return float(2 * (q * norm.pdf(q) + 1 - norm.cdf(q)))
