import numpy as np
import pytest

from armillary.train import linear_descent


@pytest.mark.parametrize("examples", [4, 9])
def test_is_the_descent_taken_step_by_step(examples):
    random = np.random.default_rng(examples)
    x, y = random.normal(size=(examples, 6)), random.normal(size=(examples, 2))
    start = random.normal(size=(6, 2))
    found = linear_descent(x, y, start, 0.1, np.array([0.0, 1.0, 7.0, 200.0]))
    weights, path = start, [start]
    for _ in range(200):
        weights = weights - 0.1 * x.T @ (x @ weights - y) / examples
        path.append(weights)
    np.testing.assert_allclose(found, [path[k] for k in (0, 1, 7, 200)], atol=2e-5)


def test_rows_of_zeros_do_not_count_and_the_null_space_does_not_move():
    random = np.random.default_rng(0)
    x, y, start = random.normal(size=(4, 6)), random.normal(size=(4, 1)), random.normal(size=(6, 1))
    steps = np.array([3.0, 500.0])
    short = linear_descent(x, y, start, 0.1, steps)
    long = linear_descent(
        np.r_[x, np.zeros((3, 6))], np.r_[y, np.zeros((3, 1))], start, 0.1, steps, examples=4
    )
    np.testing.assert_allclose(long, short, atol=1e-5)
    null = np.linalg.svd(x)[2][4:]
    np.testing.assert_allclose(null @ short[-1], null @ start, atol=1e-4)
    np.testing.assert_allclose(x @ short[-1], y, atol=2e-2)
