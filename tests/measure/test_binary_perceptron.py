import itertools

import numpy as np
import pytest

from armillary.measure import binary_perceptron_overlap


def test_the_published_transitions():
    """Perfect learning from 1.245 on (Györgyi 1990; Sompolinsky, Tishby, Seung 1990), by message passing from 1.493."""
    assert binary_perceptron_overlap(1.244).overlap < 0.7
    assert binary_perceptron_overlap(1.250).overlap == 1
    assert binary_perceptron_overlap(1.485).reachable < 0.9
    assert binary_perceptron_overlap(1.500).reachable == 1
    assert binary_perceptron_overlap(0.0) == (0.0, 0.0, 0.5)


@pytest.mark.parametrize("load", [0.25, 0.5])
def test_against_all_weights_of_small_perceptrons(load):
    """The mean over draws of the posterior mean's overlap, at 12 and 16 weights, is near the limit of many."""
    rng, found = np.random.default_rng(0), []
    for size in (12, 16):
        weights = np.array(list(itertools.product([-1.0, 1.0], repeat=size)))
        overlaps = []
        for _ in range(150):
            x = rng.standard_normal((round(load * size), size))
            agree = np.all((weights @ x.T > 0) == (x.sum(1) > 0), 1)  # the teacher is all ones
            overlaps.append(weights[agree].mean())
        found.append(np.mean(overlaps))
    assert found[1] == pytest.approx(binary_perceptron_overlap(load).overlap, abs=0.03)


def test_a_negative_load_is_refused():
    with pytest.raises(ValueError, match=r"load=-1 must not"):
        binary_perceptron_overlap(-1)
