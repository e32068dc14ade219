import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.svm import LinearSVC

from armillary.measure import separability


def test_a_set_whose_margin_is_known():
    # (1, 0) and (-1, s) meet the plane at equal distance for θ ∝ (s/2, 1): margin (s/2)/√(1 + s²/4).
    s = 0.3
    got = separability(np.array([[1, 0], [-1, s]]), np.array([1, 1]) * [1, -1])
    assert got.separable
    got = separability(np.array([[1, 0], [1, -s]]), np.array([1, 0]))
    exact = s / 2 / np.sqrt(1 + s**2 / 4)
    assert got.separable
    assert exact / np.sqrt(2) <= got.margin <= exact + 1e-12


def test_iris_against_what_is_known_of_it():
    x, y = load_iris(return_X_y=True)
    x = np.c_[x, np.ones(len(x))]
    assert separability(x, y == 0).separable
    assert not separability(x[y > 0], y[y > 0]).separable


def test_the_margin_is_that_of_theta_and_below_the_support_vector_machines():
    rng = np.random.default_rng(0)
    x, truth = rng.normal(size=(60, 4)), np.array([1.0, -1, 2, 0.5])
    x = x[np.abs(x @ truth) > 0.5]
    y = (x @ truth > 0).astype(int)
    got = separability(x, y)
    reached = ((2 * y - 1) * (x @ got.theta)).min() / np.linalg.norm(got.theta)
    svm = LinearSVC(C=1e6, fit_intercept=False, loss="hinge", max_iter=200_000).fit(x, y).coef_[0]
    best = ((2 * y - 1) * (x @ svm)).min() / np.linalg.norm(svm)
    assert got.separable
    assert got.margin == pytest.approx(reached)
    assert best / 2 <= got.margin <= best * 1.01


def test_the_answer_does_not_depend_on_units():
    x = np.array([[1.0, 0.0], [1.0, -0.3]]) * 1e-12
    assert separability(x, np.array([1, 0])).separable
    assert not separability(np.array([[1.0], [2.0], [3.0]]) * 1e9, np.array([1, 0, 1])).separable


def test_two_classes_are_needed():
    with pytest.raises(ValueError, match="two values"):
        separability(np.eye(3), np.array([0, 1, 2]))
