"""Curves against SciPy's integration of the full matrix equations, not of one mode."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from armillary.measure import growing_start, mode_curve, mode_strengths

RANDOM = np.random.default_rng(0)


def flow(layers, target, times, tau):
    """Gradient flow of ‖W_L ⋯ W₁ - target‖²/2 on all matrices, from `layers`; the product at each time."""
    shapes = [w.shape for w in layers]
    cuts = np.cumsum([w.size for w in layers])[:-1]
    split = lambda flat: [p.reshape(s) for p, s in zip(np.split(flat, cuts), shapes)]

    def product(weights):
        out = np.eye(weights[0].shape[1])
        for w in weights:
            out = w @ out
        return out

    def slope(_, flat):
        weights = split(flat)
        error = target - product(weights)
        grads = []
        for i, w in enumerate(weights):
            after = product([np.eye(w.shape[0]), *weights[i + 1 :]])
            before = product([np.eye(weights[0].shape[1]), *weights[:i]])
            grads.append(after.T @ error @ before.T)
        return np.concatenate([g.ravel() for g in grads]) / tau

    start = np.concatenate([w.ravel() for w in layers])
    found = scipy.integrate.solve_ivp(slope, (0, times[-1]), start, t_eval=times, rtol=1e-9, atol=1e-12)
    return np.stack([product(split(y)) for y in found.y.T])


def orthonormal(rows, columns):
    return np.linalg.qr(RANDOM.normal(size=(rows, columns)))[0]


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
def test_aligned_layers_follow_the_curve(layers):
    s, a0, tau = np.array([0.5, 1.0, 3.0]), np.array([0.01, 0.02, 0.01]), 2.0
    u, v = orthonormal(4, 3), orthonormal(6, 3)
    bases = [v, *(orthonormal(5, 3) for _ in range(layers - 1)), u]
    weights = [(out * a0 ** (1 / layers)) @ into.T for into, out in itertools.pairwise(bases)]
    times = np.linspace(0, 40, 30)
    products = flow(weights, (u * s) @ v.T, times, tau)
    measured = np.stack([mode_strengths(jnp.asarray(p), jnp.asarray(u), jnp.asarray(v)) for p in products])
    predicted = mode_curve(jnp.asarray(times), jnp.asarray(s), jnp.asarray(a0), tau=tau, layers=layers)
    np.testing.assert_allclose(predicted, measured, atol=1e-3)
    assert measured[-1, 2] > 2.9
    assert measured[0, 2] < 0.1


def test_a_small_random_start_grows_like_its_balanced_part():
    s = np.array([1.0, 2.0])
    u, v = orthonormal(4, 2), orthonormal(6, 2)
    first, second = 1e-4 * RANDOM.normal(size=(5, 6)), 1e-4 * RANDOM.normal(size=(4, 5))
    times = np.linspace(0, 2, 5)  # long enough for the other part to decay, too short for the modes to meet
    products = flow([first, second], (u * s) @ v.T, times, 1.0)
    a0 = growing_start(*(jnp.asarray(a) for a in (first, second, u, v)))
    measured = np.diagonal(u.T @ products[-1] @ v)
    np.testing.assert_allclose(measured, a0 * np.exp(2 * s * times[-1]), rtol=0.05)


def test_the_start_and_the_end_and_no_layers():
    curve = mode_curve(jnp.array([0.0, 1e3]), jnp.array([2.0]), jnp.array([0.1]))
    np.testing.assert_allclose(curve[:, 0], [0.1, 2.0], rtol=1e-5)
    with pytest.raises(ValueError, match="layers=0"):
        mode_curve(jnp.zeros(1), jnp.ones(1), jnp.ones(1), layers=0)
