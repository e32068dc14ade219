import jax
import jax.numpy as jnp
import numpy as np
import pytest

from armillary.train import edge_of_stability_trace

A = np.array([[2.0, 0.5], [0.5, 1.0], [0.0, 3.0]], np.float32)
B = np.array([1.0, -1.0, 2.0], np.float32)


def losses(params, batch):
    return (batch[0] @ params["w"] - batch[1]) ** 2 / 2


def test_least_squares_follows_its_closed_form():
    start, rate, steps = np.array([1.0, 1.0]), 0.1, 6
    run = edge_of_stability_trace(
        losses, {"w": jnp.array(start)}, (A, B), rate, steps=steps, every=2, key=jax.random.key(0), products=2
    )
    hessian, best = A.T @ A / 3, np.linalg.lstsq(A, B, rcond=None)[0]
    powers = [np.linalg.matrix_power(np.eye(2) - rate * hessian, t) for t in range(steps + 1)]
    path = np.stack([best + p @ (start - best) for p in powers])
    np.testing.assert_allclose(run.losses, (path[:-1] @ A.T - B) ** 2 / 2, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(run.params["w"], path[-1], rtol=1e-4)
    np.testing.assert_allclose(run.sharpness, [np.linalg.eigvalsh(hessian)[-1]] * 4, rtol=1e-4)


def test_sharpness_belongs_to_the_step_that_it_is_said_to():
    # w⁴ has curvature 12 w²; descent moves w, so a shift by one point would show.
    quartic = lambda w, _: jnp.array([w**4])
    run = edge_of_stability_trace(
        quartic, jnp.array(1.0), (), 0.01, steps=4, every=1, key=jax.random.key(0), products=1
    )
    w = [1.0]
    for _ in range(4):
        w.append(w[-1] - 0.04 * w[-1] ** 3)
    np.testing.assert_allclose(run.sharpness, 12 * np.square(w), rtol=1e-4)


def test_stride():
    with pytest.raises(ValueError, match="multiple of every=4"):
        edge_of_stability_trace(
            losses, {"w": jnp.ones(2)}, (A, B), 0.1, steps=6, every=4, key=jax.random.key(0)
        )
