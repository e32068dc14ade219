import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest

from armillary.measure import (
    Spectrum,
    exact_spectrum,
    hessian_spectrum,
    lanczos_quadrature,
    spectral_density,
    spectral_outliers,
)


def wishart(size, samples, seed=0):
    x = np.random.default_rng(seed).normal(size=(samples, size))
    return x.T @ x / samples


def test_quadrature_of_a_wishart_matrix_has_the_marchenko_pastur_moments():
    # Marchenko and Pastur: with c = size/samples the moments are 1, 1 + c, 1 + 3c + c².
    operator = lx.MatrixLinearOperator(jnp.asarray(wishart(400, 800), jnp.float32), lx.symmetric_tag)
    got = jax.jit(lambda k: lanczos_quadrature(operator, key=k, probes=16, steps=20))(jax.random.key(0))
    np.testing.assert_allclose(got.weights.sum(), 1, rtol=1e-5)
    for power, expected in ((1, 1.0), (2, 1.5), (3, 2.75)):
        np.testing.assert_allclose((got.weights * got.values**power).sum(), expected, rtol=0.05)
    edges = (1 - 0.5**0.5) ** 2, (1 + 0.5**0.5) ** 2
    assert got.values.min() > edges[0] - 0.1
    assert got.values.max() < edges[1] + 0.2


def test_smoothed_quadrature_is_the_marchenko_pastur_density():
    operator = lx.MatrixLinearOperator(jnp.asarray(wishart(400, 800), jnp.float32), lx.symmetric_tag)
    grid = np.linspace(0.3, 2.6, 50)
    low, high = (1 - 0.5**0.5) ** 2, (1 + 0.5**0.5) ** 2
    expected = np.sqrt((high - grid) * (grid - low)) / (2 * np.pi * 0.5 * grid)
    spectrum = lanczos_quadrature(operator, key=jax.random.key(0), probes=64, steps=80)
    np.testing.assert_allclose(spectral_density(spectrum, grid, 0.05), expected, atol=0.06)


def test_quadrature_weighs_a_repeated_eigenvalue_by_its_multiplicity():
    values = jnp.concatenate([jnp.zeros(900), jnp.ones(90), jnp.full(10, 5.0)])
    got = lanczos_quadrature(lx.DiagonalLinearOperator(values), key=jax.random.key(1), probes=32, steps=6)
    near = lambda v: got.weights[jnp.abs(got.values - v) < 1e-3].sum()
    np.testing.assert_allclose(near(0.0), 0.9, atol=0.01)
    np.testing.assert_allclose(near(1.0), 0.09, atol=0.01)
    np.testing.assert_allclose(near(5.0), 0.01, atol=0.003)


def test_density_integrates_to_one():
    spectrum = Spectrum(jnp.array([-1.0, 2.0]), jnp.array([0.25, 0.75]))
    grid = jnp.linspace(-5, 6, 2001)
    density = spectral_density(spectrum, grid, 0.2)
    np.testing.assert_allclose(jnp.trapezoid(density, grid), 1, atol=1e-4)
    np.testing.assert_allclose(jnp.trapezoid(density[grid < 0], grid[grid < 0]), 0.25, atol=1e-4)


def test_hessian_spectrum_by_both_methods():
    scale = jnp.linspace(0.5, 3, 50)
    loss = lambda params, batch: (batch * jnp.concatenate([params["a"], params["b"]]) ** 2).sum() / 2
    params = {"a": jnp.ones(20), "b": jnp.ones(30)}
    exact = jax.jit(lambda p, b: hessian_spectrum(loss, p, b))(params, scale)
    np.testing.assert_allclose(exact.values, scale, rtol=1e-5)
    np.testing.assert_allclose(exact.weights, 1 / 50)
    density = hessian_spectrum(loss, params, scale, method="lanczos", key=jax.random.key(0), probes=64)
    assert density.values.shape == (64 * 50,)
    np.testing.assert_allclose((density.values * density.weights).sum(), scale.mean(), rtol=0.02)


def test_hessian_spectrum_says_what_is_missing():
    loss = lambda params, batch: (params**2).sum()
    with pytest.raises(ValueError, match="key="):
        hessian_spectrum(loss, jnp.ones(3), None, method="lanczos")
    with pytest.raises(ValueError, match="'guess'"):
        hessian_spectrum(loss, jnp.ones(3), None, method="guess")


def test_exact_spectrum_against_numpy():
    matrix = wishart(30, 60)
    got = exact_spectrum(lx.MatrixLinearOperator(jnp.asarray(matrix, jnp.float32)), chunk=7)
    np.testing.assert_allclose(got.values, np.linalg.eigvalsh(matrix), atol=1e-5)


def test_exact_spectrum_under_vmap_and_jit():
    matrices = np.stack([wishart(12, 20, seed) for seed in range(3)]).astype(np.float32)
    spectrum = lambda m: exact_spectrum(lx.MatrixLinearOperator(m)).values
    got = jax.jit(jax.vmap(spectrum))(jnp.asarray(matrices))
    np.testing.assert_allclose(got, np.linalg.eigvalsh(matrices.astype(float)), atol=1e-5)


def test_outliers_of_a_spectrum_made_by_hand():
    outliers = spectral_outliers(jnp.array([0.4, -6.0, 10.0, 0.0, 10.0, 0.1, -0.2, 0.6]), 0.05)
    assert outliers.large == 3
    np.testing.assert_allclose(outliers.edge, 0.4)
    np.testing.assert_allclose(outliers.participation, 21.1**2 / (200 + 0.36 + 0.16 + 0.01), rtol=1e-5)


def test_participation_of_equal_eigenvalues_is_their_number():
    np.testing.assert_allclose(
        spectral_outliers(jnp.array([3.0] * 7 + [0.0] * 100)).participation, 7, rtol=1e-6
    )
    assert spectral_outliers(jnp.array([3.0] * 7)).edge == -jnp.inf
