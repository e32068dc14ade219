"""What a perceptron of binary weights can know of its teacher: the replica-symmetric theory."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_ndtr


class BinaryPerceptron(NamedTuple):
    """The posterior given sign labels of a binary teacher on Gaussian inputs, in the limit of many weights."""

    overlap: float
    """R, the mean over weights of the posterior mean times the teacher's weight: no learner has more."""
    reachable: float
    """The overlap that message passing reaches from no knowledge; less than `overlap` at some loads."""
    error: float
    """arccos(√R)/π: the error, as a fraction, of the posterior mean used as a perceptron."""


def binary_perceptron_overlap(load: float, *, tolerance: float = 1e-10) -> BinaryPerceptron:
    """Solve the replica-symmetric equations at the Bayes optimum,

    R = E tanh(√R̂ z + R̂),  R̂ = 2·load/(1−R) · E φ(u)²/Φ(u),  u = √(R/(1−R)) z,

    by iteration from R = 0 and from R = 1, and keep the one of larger free entropy. The teacher is the only
    explanation from a load of 1.245 on; message passing finds it from 1.493 on.

    Györgyi 1990 ("First-order transition to perfect generalization in a neural network with binary synapses");
    "Optimal errors and phase transitions in high-dimensional generalized linear models" (Barbier et al. 2019).

    **Arguments:**

    - `load`: examples per weight.
    - `tolerance`: on R, of the iteration; from 1 − 1e-5 on R is taken for 1.

    **Raises:** `ValueError` if the load is negative.
    """
    if load < 0:
        raise ValueError(f"load={load} must not be negative")
    z, weights = np.polynomial.hermite_e.hermegauss(101)
    weights = weights / weights.sum()

    def conjugate(overlap: float) -> float:
        ratio = np.sqrt(overlap / (1 - overlap))
        # φ(u)² is narrow in z if R is near 1: it joins the Gaussian weight, whose variance falls to 1/(1 + 2u²/z²).
        narrow = 1 / np.sqrt(1 + 2 * ratio**2)
        mean = weights @ np.exp(-log_ndtr(ratio * narrow * z)) * narrow / (2 * np.pi)
        return 2 * load / (1 - overlap) * mean

    def solve(overlap: float) -> float:
        for _ in range(100_000):
            hat = conjugate(overlap)
            new = weights @ np.tanh(np.sqrt(hat) * z + hat)
            if new > 1 - 1e-5:
                return 1.0
            if abs(new - overlap) < tolerance:
                break
            overlap = new
        return float(new)

    def free_entropy(overlap: float) -> float:
        """Entropy per weight of the explanations, plus what the labels were worth; 0 if the teacher is alone."""
        if overlap == 1:
            return 0.0
        hat = conjugate(overlap)
        field = np.sqrt(hat) * z + hat
        log = log_ndtr(np.sqrt(overlap / (1 - overlap)) * z)
        weight = weights @ np.logaddexp(field, -field) - hat * (1 + overlap) / 2
        return float(weight + 2 * load * weights @ (np.exp(log) * log))

    blind, informed = solve(0.0), solve(1 - 1e-4)
    overlap = informed if free_entropy(informed) > free_entropy(blind) else blind
    return BinaryPerceptron(overlap, blind, float(np.arccos(np.sqrt(overlap)) / np.pi))
