import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from armillary.data import digits
from armillary.measure import (
    bezier_barrier,
    bezier_losses,
    bezier_point,
    cross_entropy,
    line_losses,
    line_point,
    path_barrier,
)
from armillary.nn import MLP
from armillary.train import fit

RING = lambda params, batch: (params["x"] ** 2 + params["y"] ** 2 - batch) ** 2
EAST = {"x": jnp.array(1.0), "y": jnp.array(0.0)}
NORTH = {"x": jnp.array(0.0), "y": jnp.array(1.0)}


def test_line_of_a_quadratic_in_closed_form():
    loss = lambda p, batch: ((p["w"] - batch) ** 2).sum()
    a, b, centre = {"w": jnp.array([0.0, 0.0])}, {"w": jnp.array([2.0, 0.0])}, jnp.array([1.0, 1.0])
    t = np.linspace(0, 1, 5)
    np.testing.assert_allclose(line_losses(loss, a, b, centre, points=5), (2 * t - 1) ** 2 + 1, rtol=1e-6)


def test_barrier_of_a_profile_by_both_definitions():
    losses = jnp.array([1.0, 2.0, 5.0, 3.0, 3.0])
    np.testing.assert_allclose(path_barrier(losses), 2)
    np.testing.assert_allclose(path_barrier(losses, above="line"), 3)
    assert path_barrier(jnp.array([3.0, 2.0, 1.0])) == 0


def test_curve_against_de_casteljau():
    bend = {"x": jnp.array(3.0), "y": jnp.array(-1.0)}
    for t in (0.0, 0.3, 1.0):
        expected = line_point(line_point(EAST, bend, t), line_point(bend, NORTH, t), t)
        got = bezier_point(EAST, bend, NORTH, t)
        np.testing.assert_allclose([got["x"], got["y"]], [expected["x"], expected["y"]], atol=1e-6)


def test_bend_of_a_ring_valley():
    # On the unit ring the chord from (1, 0) to (0, 1) is at height (1/2 - 1)² = 1/4 in its middle. The best
    # quadratic curve is symmetric with its bend at (c, c); brute force over c gives what training must find.
    assert np.isclose(path_barrier(line_losses(RING, EAST, NORTH, 1.0)), 0.25)
    t = np.linspace(0, 1, 2001)
    radius = lambda c: ((1 - t) ** 2 + 2 * t * (1 - t) * c) ** 2 + (t**2 + 2 * t * (1 - t) * c) ** 2
    grid = np.linspace(0.5, 1.5, 1001)
    best = grid[np.argmin([((radius(c) - 1) ** 2).mean() for c in grid])]
    got = jax.jit(lambda key: bezier_barrier(RING, EAST, NORTH, 1.0, key=key, steps=400))(jax.random.key(0))
    np.testing.assert_allclose([got.bend["x"], got.bend["y"]], best, atol=0.01)
    np.testing.assert_allclose(got.barrier, ((radius(best) - 1) ** 2).max(), atol=2e-3)
    np.testing.assert_allclose(got.losses, bezier_losses(RING, EAST, got.bend, NORTH, 1.0))


def test_networks_with_static_fields_under_vmap():
    x = jax.random.normal(jax.random.key(9), (10, 2))
    loss = lambda net, batch: ((net(batch) - batch.sum(-1, keepdims=True)) ** 2).mean()
    make = lambda key: MLP((2, 4, 1), key, activation=jnp.tanh)

    def run(key):
        a, b = make(key), make(jax.random.fold_in(key, 1))
        path = bezier_barrier(loss, a, b, x, key=key, steps=300)
        return path.losses, line_losses(loss, a, b, x), loss(a, x), loss(b, x)

    keys = jax.random.split(jax.random.key(0), 3)
    curve, line, first, last = jax.jit(jax.vmap(run))(keys)
    for path in (curve, line):
        np.testing.assert_allclose(path[:, 0], first, rtol=1e-5)
        np.testing.assert_allclose(path[:, -1], last, rtol=1e-5)
    assert (curve.mean(1) < line.mean(1)).all()
    assert isinstance(line_point(make(keys[0]), make(keys[1]), 0.5), eqx.Module)


def test_a_learned_curve_goes_round_the_ridge_between_two_trained_networks():
    """Digits 0 to 2, two inits: the line has a barrier, the curve between the same ends at most half of it."""
    x, y = (jnp.asarray(a) for a in digits(range(3)))
    loss = lambda net, batch: cross_entropy(net(batch[0]), batch[1])
    train = lambda key: fit(loss, MLP((64, 16, 3), key), (x, y), optax.adam(0.01), steps=200).params
    a, b = (jax.jit(train)(jax.random.key(seed)) for seed in range(2))
    line = path_barrier(line_losses(loss, a, b, (x, y)))
    curve = jax.jit(lambda: bezier_barrier(loss, a, b, (x, y), key=jax.random.key(2), steps=300))()
    assert line > 0.02, "without a ridge the curve shows nothing"
    assert curve.barrier < line / 2
    for end, t in ((a, 0.0), (b, 1.0)):
        point = bezier_point(a, curve.bend, b, t)
        np.testing.assert_allclose(loss(point, (x, y)), loss(end, (x, y)), rtol=1e-4)
