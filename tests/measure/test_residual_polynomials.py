"""Polynomials on spectra against numpy's quadrature, least squares, SciPy's minimizer, and the learners themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from armillary.data import linear_regression_prompts, regression_moments
from armillary.measure import (
    MomentSpectrum,
    best_gd_plus_plus,
    best_rates,
    best_residual_risks,
    gauss_quadrature,
    gd_plus_plus_residual,
    gradient_descent,
    gradient_descent_path,
    moment_spectrum,
    newton_residuals,
    newton_schulz_path,
    residual_risk,
)


@pytest.fixture(scope="module")
def prompts():
    moments = regression_moments(jax.random.key(0), 400, 12, jnp.array([1.0, 0.6, 0.3]), rotate=True)
    return moments, moment_spectrum(*moments)


def risk(spectrum, residual):
    nodes, weights = (np.asarray(a, np.float64) for a in spectrum)
    return np.sum(weights * residual(nodes) ** 2)


def test_the_risk_is_that_of_a_learner_on_prompts():
    covariance, n = jnp.array([1.0, 0.6, 0.3]), 12
    draw = linear_regression_prompts(jax.random.key(1), 100_000, n, covariance)
    rates = jnp.array([0.5, 0.8])
    predicted = jax.vmap(gradient_descent(2, rates))(draw.x, draw.y, draw.query)
    squares = (predicted - draw.target) ** 2
    moment = jnp.swapaxes(draw.x, -1, -2) @ draw.x / n
    spectrum = moment_spectrum(moment[:20_000], jnp.diag(covariance))
    found = risk(spectrum, lambda v: (1 - 0.5 * v) * (1 - 0.8 * v))
    assert abs(squares.mean() - found) < 5 * squares.std() / len(squares) ** 0.5


def test_weights_are_a_trace(prompts):
    (moment, covariance), spectrum = prompts
    residual = np.eye(3) - 0.7 * np.asarray(moment)
    expected = np.einsum("bij,bjk,bki->", covariance, residual, residual) / len(moment)
    np.testing.assert_allclose(residual_risk(jnp.array(residual), covariance).mean(), expected, rtol=1e-4)
    np.testing.assert_allclose(risk(spectrum, lambda v: 1 - 0.7 * v), expected, rtol=1e-4)


def test_gauss_rule_of_a_uniform_measure_is_legendre_s():
    fine = np.linspace(-1, 1, 20_001)
    found = gauss_quadrature(MomentSpectrum(jnp.array(fine), jnp.full(len(fine), 2 / len(fine))), 5)
    nodes, weights = np.polynomial.legendre.leggauss(5)
    np.testing.assert_allclose(found.nodes, nodes, atol=1e-3)
    np.testing.assert_allclose(found.weights, weights, rtol=1e-3)


def test_best_polynomials_are_those_of_least_squares(prompts):
    spectrum = prompts[1]
    nodes, weights = (np.asarray(a, np.float64).ravel() for a in spectrum)
    found = best_residual_risks(spectrum, 8)
    for degree, value in enumerate(found):
        powers = (nodes / nodes.max())[:, None] ** np.arange(1, degree + 1) * np.sqrt(weights)[:, None]
        coefficients = np.linalg.lstsq(powers, np.sqrt(weights), rcond=None)[0]
        expected = np.sum((np.sqrt(weights) - powers @ coefficients) ** 2)
        np.testing.assert_allclose(value, expected, rtol=1e-3)


def test_best_rates_attain_the_best_risk_and_are_what_a_minimizer_finds(prompts):
    spectrum = prompts[1]
    least = best_residual_risks(spectrum, 4)
    product = lambda rates: lambda v: np.prod([1 - rate * v for rate in rates], 0)
    for steps in (1, 2, 4):
        rates = np.asarray(best_rates(spectrum, steps), np.float64)
        np.testing.assert_allclose(risk(spectrum, product(rates)), least[steps], rtol=1e-3)
    found = scipy.optimize.minimize(lambda r: risk(spectrum, product(r)), [0.5, 2.0], method="Nelder-Mead")
    np.testing.assert_allclose(best_rates(spectrum, 2), np.sort(found.x), rtol=1e-3)


def test_gd_plus_plus_and_newton_are_the_learners_iterations(prompts):
    moment = prompts[0].second_moment[0]
    values, vectors = np.linalg.eigh(moment)
    task = np.array([0.3, -1.0, 0.7], np.float32)
    rates, curvatures = jnp.array([0.5, 0.8, 0.4]), jnp.array([0.3, 0.2, 0.6])
    path = gradient_descent_path(moment, moment @ task, 3, rates, curvature=curvatures)
    residual = gd_plus_plus_residual(jnp.array(values), rates, curvatures)
    np.testing.assert_allclose(
        task - path[-1], vectors @ (residual * (vectors.T @ task)), rtol=1e-3, atol=1e-5
    )
    path = newton_schulz_path(moment, moment @ task, 4)
    for w, residual in zip(path, newton_residuals(jnp.array(values), 4)):
        np.testing.assert_allclose(task - w, vectors @ (residual * (vectors.T @ task)), rtol=1e-3, atol=1e-5)


def test_best_gd_plus_plus_is_the_least_of_many_searches(prompts):
    spectrum = prompts[1]
    nodes, weights = (np.asarray(a, np.float64) for a in spectrum)

    def objective(point):
        first, curvature, second = point
        residual = (1 - first * nodes) * (1 - second * nodes * (1 - curvature * nodes) ** 2)
        return np.log(np.sum(weights * residual**2))

    rng = np.random.default_rng(0)
    searches = [
        scipy.optimize.minimize(objective, rng.uniform(0, [3, 1.5, 8]), method="Nelder-Mead")
        for _ in range(40)
    ]
    rates, curvatures = best_gd_plus_plus(spectrum, 2, jax.random.key(3))
    found = objective((rates[0], curvatures[0], rates[1]))
    assert curvatures[1] == 0
    assert found < min(s.fun for s in searches) + 0.002
    assert len({round(s.fun, 2) for s in searches}) > 1  # one search is not enough
    assert found < np.log(best_residual_risks(spectrum, 2)[2])
