import equinox as eqx
import jax
import jax.numpy as jnp
import lineax as lx
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from armillary.measure import (
    dense,
    flatten,
    gauss_newton_matrix,
    gauss_newton_operator,
    gauss_newton_vector_product,
    hessian_matrix,
    hessian_operator,
    hessian_vector_product,
)
from armillary.nn import MLP


@pytest.fixture(scope="module")
def problem():
    keys = jax.random.split(jax.random.key(0), 3)
    net = MLP((3, 5, 4), keys[0], activation=jnp.tanh)
    x = jax.random.normal(keys[1], (7, 3))
    y = jax.nn.one_hot(jax.random.randint(keys[2], (7,), 0, 4), 4)
    model = lambda net, batch: net(batch[0])
    objective = lambda logits, batch: -(jax.nn.log_softmax(logits) * batch[1]).sum(-1).mean()
    loss = lambda net, batch: objective(model(net, batch), batch)
    return net, (x, y), model, objective, loss


def explicit_hessian(net, batch, loss):
    flat, unravel = ravel_pytree(eqx.filter(net, eqx.is_inexact_array))
    rest = eqx.filter(net, eqx.is_inexact_array, inverse=True)
    return jax.hessian(lambda f: loss(eqx.combine(unravel(f), rest), batch))(flat)


def explicit_gauss_newton(net, batch, model):
    """JᵀQJ with the softmax's Q = diag(p) - ppᵀ written out, example by example."""
    flat, unravel = ravel_pytree(eqx.filter(net, eqx.is_inexact_array))
    rest = eqx.filter(net, eqx.is_inexact_array, inverse=True)
    logits = lambda f: model(eqx.combine(unravel(f), rest), batch)
    jacobian, p = np.asarray(jax.jacobian(logits)(flat)), np.asarray(jax.nn.softmax(logits(flat)))
    return sum(j.T @ (np.diag(q) - np.outer(q, q)) @ j for j, q in zip(jacobian, p)) / len(p)


def test_flatten_round_trip_keeps_what_is_not_trained():
    params = {"w": jnp.arange(6.0).reshape(2, 3), "n": jnp.array(3), "f": jnp.tanh, "none": None}
    flat, unflatten = flatten(params)
    assert flat.shape == (6,)
    back = unflatten(flat + 1)
    np.testing.assert_array_equal(back["w"], params["w"] + 1)
    assert back["n"] == 3
    assert back["f"] is jnp.tanh


def test_hessian_matrix_is_jax_hessian(problem):
    net, batch, _, _, loss = problem
    got = jax.jit(lambda n, b: hessian_matrix(loss, n, b, chunk=10))(net, batch)
    np.testing.assert_allclose(got, explicit_hessian(net, batch, loss), atol=1e-6)


def test_gauss_newton_matrix_is_jacobian_times_softmax_curvature(problem):
    net, batch, model, objective, loss = problem
    got = gauss_newton_matrix(model, objective, net, batch, chunk=10)
    np.testing.assert_allclose(got, explicit_gauss_newton(net, batch, model), atol=1e-6)
    assert np.abs(got - explicit_hessian(net, batch, loss)).max() > 1e-2  # the two do differ here


def test_gauss_newton_is_the_hessian_of_a_linear_model(problem):
    _, batch, model, objective, loss = problem
    net = MLP((3, 4), jax.random.key(5))
    np.testing.assert_allclose(
        gauss_newton_matrix(model, objective, net, batch), explicit_hessian(net, batch, loss), atol=1e-6
    )


def test_products_on_pytrees(problem):
    net, batch, model, objective, loss = problem
    arrays = eqx.filter(net, eqx.is_inexact_array)
    flat, unravel = ravel_pytree(arrays)
    vector = jax.random.normal(jax.random.key(1), flat.shape)
    hv = hessian_vector_product(loss, net, batch, unravel(vector))
    gv = gauss_newton_vector_product(model, objective, net, batch, unravel(vector))
    assert jax.tree.structure(hv) == jax.tree.structure(arrays)
    hessian, gauss_newton = explicit_hessian(net, batch, loss), explicit_gauss_newton(net, batch, model)
    np.testing.assert_allclose(ravel_pytree(hv)[0], hessian @ vector, atol=1e-5)
    np.testing.assert_allclose(ravel_pytree(gv)[0], gauss_newton @ vector, atol=1e-5)


def test_operators_under_vmap_over_networks(problem):
    _, batch, model, objective, loss = problem
    nets = eqx.filter_vmap(lambda k: MLP((3, 5, 4), k, activation=jnp.tanh))(
        jax.random.split(jax.random.key(2), 3)
    )
    vector = jax.random.normal(jax.random.key(3), (44,))

    @eqx.filter_jit
    @eqx.filter_vmap(in_axes=(0, None))
    def products(net, vector):
        hessian = hessian_operator(loss, net, batch).mv(vector)
        return hessian, gauss_newton_operator(model, objective, net, batch).mv(vector)

    hv, gv = products(nets, vector)
    for i in range(3):
        net = jax.tree.map(lambda leaf, i=i: leaf[i] if eqx.is_array(leaf) else leaf, nets)
        np.testing.assert_allclose(hv[i], explicit_hessian(net, batch, loss) @ vector, atol=1e-5)
        np.testing.assert_allclose(gv[i], explicit_gauss_newton(net, batch, model) @ vector, atol=1e-5)


def test_operator_solves_with_lineax(problem):
    net, batch, model, objective, _ = problem
    operator = gauss_newton_operator(model, objective, net, batch)
    damped = lx.TaggedLinearOperator(
        operator + 0.1 * lx.IdentityLinearOperator(operator.in_structure()), lx.positive_semidefinite_tag
    )
    right = jax.random.normal(jax.random.key(4), (44,))
    got = lx.linear_solve(damped, right, lx.CG(rtol=1e-6, atol=1e-6)).value
    expected = np.linalg.solve(explicit_gauss_newton(net, batch, model) + 0.1 * np.eye(44), right)
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_dense_with_a_chunk_that_does_not_divide():
    matrix = jax.random.normal(jax.random.key(0), (7, 7))
    matrix = matrix + matrix.T
    np.testing.assert_allclose(dense(lx.MatrixLinearOperator(matrix), chunk=3), matrix, atol=1e-6)
