import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from armillary.data import unit_sphere
from armillary.measure import deep_kernels, infinite_depth_rule
from armillary.nn import HermiteActivation, optimal_activation


def gauss(f):
    """E f(x, y) of two standard normals, by quadrature."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    return weights @ f(nodes[:, None], nodes[None, :]) @ weights


@pytest.mark.parametrize("low", [0, 1, 2])
@pytest.mark.parametrize("dim", [2, 3, 5])
def test_the_activation_has_the_moments_that_the_theorem_asks_for(dim, low):
    phi = optimal_activation(dim, low=low)
    at = lambda x: np.asarray(phi(jnp.array(x)))
    with jax.enable_x64(True):
        slope = lambda x: np.asarray(jax.vmap(jax.grad(phi))(jnp.array(x.ravel()))).reshape(x.shape)
        assert gauss(lambda x, _: at(x) ** 2 + 0 * _) == pytest.approx(1)
        assert gauss(lambda x, _: at(x) + 0 * _) == pytest.approx(2 ** (-dim / 4) * (low == 0), abs=1e-9)
        assert gauss(lambda x, _: slope(x) + 0 * _) == pytest.approx(2 ** (-dim / 4) * (low == 1), abs=1e-9)
        if low == 1:
            assert gauss(lambda x, _: slope(x) ** 2 + 0 * _) == pytest.approx(2)


def test_rules():
    assert infinite_depth_rule(optimal_activation(4).coefficients).order == pytest.approx(4)
    assert infinite_depth_rule(optimal_activation(4).coefficients).rule == "singular"
    assert infinite_depth_rule(optimal_activation(4, low=0).coefficients).rule == "majority"
    assert infinite_depth_rule([0, 0, 1]) == ("nearest", float("inf"))
    assert infinite_depth_rule([0, 1]).rule == "none"  # a linear network keeps its kernel at every depth
    with pytest.raises(ValueError, match=r"sum to 1\.25"):
        infinite_depth_rule([0.5, 1.0])
    with pytest.raises(ValueError, match="dim=1"):
        optimal_activation(1)


def test_two_layers_by_quadrature():
    """c(t) = E φ(u) φ(v) of normals u, v with correlation t, and c' likewise."""
    phi, depth = optimal_activation(3), 2
    with jax.enable_x64(True):
        squares, t = jnp.array(phi.coefficients) ** 2, np.array([0.1, 0.5, 0.9])
        found = deep_kernels(squares, jnp.array(t), depth)
        one = deep_kernels(squares, jnp.array([0.5]), depth).diagonal
    at = lambda x: np.asarray(phi(jnp.array(x)), float)
    h = 1e-3
    slope = lambda x: (at(x + h) - at(x - h)) / (2 * h)

    def dual(f, t):
        with jax.enable_x64(True):
            return gauss(lambda x, y: f(x + 0 * y) * f(t * x + np.sqrt(1 - t**2) * y))

    def kernels(t):
        conjugate = tangent = t
        for _ in range(depth):
            change = dual(slope, conjugate)
            conjugate = dual(at, conjugate)
            tangent = conjugate + tangent * change
        return conjugate, tangent

    expected = np.array([kernels(each) for each in t])
    np.testing.assert_allclose(np.exp(found.conjugate), expected[:, 0], rtol=1e-5)
    np.testing.assert_allclose(np.exp(found.tangent), expected[:, 1], rtol=1e-5)
    np.testing.assert_allclose(np.exp(one), 1 + 2 + 4)


def test_a_wide_network_has_this_tangent_kernel():
    width, phi = 1500, HermiteActivation((0.0, 0.8, 0.6))
    x = abs(unit_sphere(jax.random.key(0), 3, 2))

    def network(weights, x):
        for w in weights[:-1]:
            x = phi(x @ w) / jnp.sqrt(w.shape[1])
        return x @ weights[-1]

    def kernel(key):
        sizes = [(3, width), (width, width), (width, 1)]
        weights = [jax.random.normal(k, s) for k, s in zip(jax.random.split(key, 3), sizes)]
        a, b = (jax.grad(lambda w, x=x: network(w, x)[0])(weights) for x in x)
        return sum(jnp.vdot(p, q) for p, q in zip(a, b))

    found = jax.lax.map(kernel, jax.random.split(jax.random.key(1), 8)).mean()
    squares = jnp.array(phi.coefficients) ** 2
    theory = jnp.exp(deep_kernels(squares, (x[0] @ x[1])[None], 2).tangent[0])
    assert found == pytest.approx(float(theory), rel=0.08)


def test_deep_kernels_scale_as_koenigs_function_does():
    """κ(c(t)) = c'(0) κ(t) for κ = lim c∘…∘c / c'(0)^depth."""
    with jax.enable_x64(True):
        squares = jnp.array(optimal_activation(3).coefficients) ** 2
        t = jnp.array([0.3, 0.9, 0.999])
        dual = squares @ t ** jnp.arange(len(squares))[:, None]
        koenigs = deep_kernels(squares, jnp.concatenate([dual, t]), 200).conjugate
        np.testing.assert_allclose(koenigs[:3] - koenigs[3:], jnp.log(squares[1]), rtol=1e-9)
        # Θ becomes depth · κ · c'(0)^depth.
        tangent = deep_kernels(squares, t, 20_000).tangent
        conjugate = deep_kernels(squares, t, 20_000).conjugate
        np.testing.assert_allclose(tangent - conjugate, np.log(20_000), rtol=0.02)


def test_an_even_network_is_the_nearest_neighbour():
    with jax.enable_x64(True):
        x, y = (
            abs(unit_sphere(jax.random.key(2), 3, 300)),
            jnp.sign(jax.random.normal(jax.random.key(3), (300,))),
        )
        fresh = abs(unit_sphere(jax.random.key(4), 3, 100))
        squares = jnp.array(optimal_activation(2, low=2).coefficients) ** 2
        log = jax.vmap(lambda t: deep_kernels(squares, t, 64).tangent)(fresh @ x.T)
        said = jnp.sign(jax.nn.softmax(log) @ y)
    expected = KNeighborsClassifier(1).fit(x, y).predict(fresh)
    assert np.mean(said == expected) > 0.98
