"""The probe against explicit matrices, against brute force, and JAX against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax.flatten_util import ravel_pytree
from problems import data, hidden, in_jax, loss, outputs, random_vectors, tree

from armillary import probe
from armillary.measure import empirical_ntk, m_coherence
from armillary.measure.neural_collapse import neural_collapse
from armillary.merge import permutation_symmetry, permute, random_permutations


@pytest.fixture(scope="module", params=["jax", "torch"])
def problem(request):
    return request.getfixturevalue(f"{request.param}_problem")


@pytest.fixture(scope="module")
def hessian(nets):
    """From `jax.hessian`, in float64 arithmetic on the flat vector."""
    flat, unravel = ravel_pytree(tree(nets[0].state_dict()))
    x, y = data()
    return np.asarray(jax.hessian(lambda f: loss(unravel(f), (x, y)))(flat), float)


@pytest.fixture(scope="module")
def report(reports, problem):
    return reports[problem.framework]


def test_torch_func_hessian_is_the_same_matrix(nets, hessian):
    net = nets[0]
    x, y = (torch.from_numpy(v) for v in data())
    named = dict(net.named_parameters())
    sizes = [p.numel() for p in named.values()]

    def function(flat):
        parts = {n: part.view(p.shape) for (n, p), part in zip(named.items(), flat.split(sizes))}
        return torch.nn.functional.cross_entropy(torch.func.functional_call(net, parts, x), y.long())

    flat = torch.cat([p.detach().ravel() for p in named.values()])
    np.testing.assert_allclose(torch.func.hessian(function)(flat).numpy(), hessian, atol=1e-4)


def test_products_are_the_explicit_matrices_times_the_vectors(problem, nets, hessian):
    vectors = random_vectors(problem, 3)
    np.testing.assert_allclose(problem.hessian(vectors), vectors @ hessian, rtol=1e-3, atol=1e-4)
    flat, unravel = ravel_pytree(tree(nets[0].state_dict()))
    x, y = data()
    jacobian = np.asarray(jax.jacobian(lambda f: outputs(unravel(f), (x, y)))(flat))
    p = np.asarray(jax.nn.softmax(outputs(unravel(flat), (x, y))))
    gauss_newton = sum(j.T @ (np.diag(q) - np.outer(q, q)) @ j for j, q in zip(jacobian, p)) / len(x)
    np.testing.assert_allclose(problem.gauss_newton(vectors), vectors @ gauss_newton, rtol=1e-3, atol=1e-4)


def test_eigenvalues_to_a_thousandth(report, hessian):
    values = np.linalg.eigvalsh(hessian)[::-1]
    row = report["largest Hessian eigenvalue"]
    np.testing.assert_allclose(row.detail["eigenvalues"][:3], values[:3], rtol=1e-3)
    assert abs(row.value - values[0]) <= row.error + 1e-4 * values[0]
    lowest = report["most negative eigenvalue"]
    assert abs(lowest.value - values[-1]) <= lowest.error + 1e-3 * abs(values[-1])


def test_gauss_newton_share_of_the_leading_direction(report, nets, hessian):
    values, vectors = np.linalg.eigh(hessian)
    flat, unravel = ravel_pytree(tree(nets[0].state_dict()))
    x, y = data()
    push = np.asarray(
        jax.jvp(lambda f: outputs(unravel(f), (x, y)), (flat,), (jnp.asarray(vectors[:, -1], flat.dtype),))[1]
    )
    p = np.asarray(jax.nn.softmax(outputs(unravel(flat), (x, y))))
    part = np.mean((p * push**2).sum(1) - (p * push).sum(1) ** 2)
    np.testing.assert_allclose(report["Gauss-Newton share"].value, part / values[-1], rtol=1e-2)


def test_trace_norm_limit_and_density_within_their_stated_errors(problem, hessian):
    values = np.linalg.eigvalsh(hessian)
    trace, norm = values.sum(), np.linalg.norm(values)
    exact = {"trace": trace, "Frobenius": norm, "above 5%": (values > 0.05 * values[-1]).sum()}
    share = (150 - 20) / (20 * 149)
    exact["stability bound"] = 2 / ((1 - share) * norm**2 / trace + share * trace)
    far = {name: [] for name in exact}
    moment = []
    for key in range(10):
        found = probe.examine(problem, only=["spectrum"], batch_size=20, budget=None, key=key)
        for name, truth in exact.items():
            row = found[name]
            far[name].append((row.value - truth) / row.error)
        detail = found["above 5%"].detail
        moment.append((np.asarray(detail["weights"]) * np.asarray(detail["nodes"]) ** 3).sum() * problem.size)
    for name, scores in far.items():
        # Ten runs of eight probes: standardized errors are near normal, their mean has spread 0.32.
        assert abs(np.mean(scores)) < 1.5, (name, scores)
        assert np.mean(np.abs(scores) < 3) >= 0.8, (name, scores)
    spread = np.std(moment, ddof=1) / 10**0.5
    assert abs(np.mean(moment) - (values**3).sum()) < 4 * spread


def test_noise_and_coherence_by_brute_force(report, problem, nets):
    params = tree(nets[0].state_dict())
    x, y = data()
    single = jax.vmap(jax.grad(loss), (None, 0))(params, (x[:, None], y[:, None]))
    matrix = np.concatenate([np.asarray(g).reshape(len(x), -1) for g in jax.tree.leaves(single)], 1)
    gram = matrix.astype(float) @ matrix.T
    pairs = ~np.eye(len(x), dtype=bool)
    np.testing.assert_allclose(report["coherence"].value, m_coherence(single), rtol=1e-3)
    signal = gram[pairs].mean()
    assert (signal <= 0) == (report["gradient noise scale"].value is None)
    np.testing.assert_allclose(report["gradient norm"].value, max(signal, 0) ** 0.5, rtol=1e-2, atol=1e-6)
    others = matrix.sum(0) - matrix
    cosine = (matrix * others).sum(1) / (np.linalg.norm(matrix, axis=1) * np.linalg.norm(others, axis=1))
    row = report["step sets back"]
    np.testing.assert_allclose(row.value, (cosine < 0).mean(), atol=1.1 / len(x))
    np.testing.assert_allclose(row.detail["cosines"][:3], np.sort(cosine)[:3], atol=1e-3)
    assert row.detail["indices"][0] == cosine.argmin()


def test_opposing_groups_along_the_leading_eigenvector(report, nets, hessian):
    params = tree(nets[0].state_dict())
    x, y = data()
    single = jax.vmap(jax.grad(loss), (None, 0))(params, (x[:, None], y[:, None]))
    matrix = np.concatenate([np.asarray(g).reshape(len(x), -1) for g in jax.tree.leaves(single)], 1)
    slopes = matrix @ np.linalg.eigh(hessian)[1][:, -1]
    row = report["steepest direction"]
    mine = np.asarray(row.detail["slopes"])
    assert abs(np.corrcoef(mine, slopes)[0, 1]) > 0.999
    np.testing.assert_allclose(np.abs(mine), np.abs(slopes), atol=2e-2 * np.abs(slopes).max())


def test_collapse_and_rank_by_their_definitions(report, nets):
    params = tree(nets[0].state_dict())
    batch = data()
    features = hidden(params, batch)[1]
    expected = neural_collapse(features, jnp.asarray(batch[1]), params[2][0], outputs(params, batch))
    for name, truth in zip(("NC1", "NC2", "NC3", "NC4"), expected):
        np.testing.assert_allclose(report[name].value, truth, rtol=1e-3, atol=1e-6)
    values = np.linalg.svd(np.asarray(features) - np.asarray(features).mean(0), compute_uv=False)
    share = values / values.sum()
    np.testing.assert_allclose(
        report["effective rank"].value, np.exp(-(share * np.log(share)).sum()), rtol=1e-3
    )


def test_tangent_kernels_by_brute_force(report, nets):
    net, start, other = nets
    x = data()[0][:96]
    model = lambda p, x: outputs(p, (x, None))
    now, before, second = (
        np.asarray(empirical_ntk(model, tree(s), x), float)
        for s in (net.state_dict(), start, other.state_dict())
    )
    cosine = lambda a, b: (a * b).sum() / (np.linalg.norm(a) * np.linalg.norm(b))
    np.testing.assert_allclose(report["alignment with its start"].value, cosine(now, before), rtol=1e-3)
    np.testing.assert_allclose(report["alignment with the other"].value, cosine(now, second), rtol=1e-3)
    labels = data()[1][:96]
    h = np.eye(96) - 1 / 96
    same = h @ np.equal.outer(labels, labels) @ h
    np.testing.assert_allclose(
        report["alignment with the labels"].value, cosine(h @ now @ h, same), rtol=1e-3
    )


def test_fragility_by_hand(report, nets):
    params = tree(nets[0].state_dict())
    x, y = data()
    every = np.concatenate([np.abs(np.asarray(w)).ravel() for w, _ in params])
    cut = np.sort(every)[round(0.8 * every.size)]
    pruned = [(jnp.where(jnp.abs(w) >= cut, w, 0), b) for w, b in params]
    np.testing.assert_allclose(report["without 80%"].value, loss(pruned, (x, y)), rtol=1e-3)
    levels = lambda w: jnp.round(w / (jnp.abs(w).max() / 3)) * (jnp.abs(w).max() / 3)
    np.testing.assert_allclose(
        report["weights of 3 bits"].value, loss([(levels(w), b) for w, b in params], (x, y)), rtol=1e-3
    )
    rises = [
        float(
            loss([(levels(w), b) if i == j else (w, b) for j, (w, b) in enumerate(params)], (x, y))
            - loss(params, (x, y))
        )
        for i in range(3)
    ]
    np.testing.assert_allclose(report["most fragile layer"].value, max(rises), rtol=1e-2)
    gradient = np.concatenate(
        [
            np.asarray(jax.grad(lambda x, y=y[i : i + 50]: loss(params, (x, y)))(x[i : i + 50]))
            for i in (0, 50, 100)
        ]
    )
    step = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    radius = np.repeat([0.05 * np.linalg.norm(x[i : i + 50], axis=1).mean() for i in (0, 50, 100)], 50)
    np.testing.assert_allclose(
        report["adversarial"].value, loss(params, (x + radius[:, None] * step, y)), rtol=1e-3
    )
    assert report["random changes"].value < report["adversarial"].value


def test_barrier_along_the_line(report, nets):
    a, b = tree(nets[0].state_dict()), tree(nets[2].state_dict())
    losses = [
        float(loss(jax.tree.map(lambda u, v, t=t: (1 - t) * u + t * v, a, b), data()))
        for t in np.linspace(0, 1, 11)
    ]
    np.testing.assert_allclose(
        report["barrier on the straight line"].value, max(losses) - max(losses[0], losses[-1]), rtol=1e-3
    )


def test_matching_undoes_a_permutation(nets):
    params = tree(nets[0].state_dict())
    x, y = data()
    symmetry = permutation_symmetry(outputs, params, (x, y))
    shuffled = permute(symmetry, params, random_permutations(symmetry, jax.random.key(3)))
    found = probe.examine(in_jax(params, other=shuffled), only=["barrier"], budget=None)
    assert found["barrier on the straight line"].value > 0.1
    assert found["after matching"].value < 1e-4


def test_a_sweep_of_rates_against_sgd_by_hand(report, nets):
    params = tree(nets[0].state_dict())
    x, y = data()
    for step in range(8):
        batch = x[50 * (step % 3) : 50 * (step % 3) + 50], y[50 * (step % 3) : 50 * (step % 3) + 50]
        params = jax.tree.map(lambda p, g: p - 0.1 * g, params, jax.grad(loss)(params, batch))
    np.testing.assert_allclose(report["SGD steps at η"].value, loss(params, (x, y)), rtol=1e-3)


def test_jax_and_pytorch_give_the_same_report(reports):
    first, second = reports["jax"], reports["torch"]
    assert not first.failed
    assert not second.failed
    assert [r.quantity for r in first.rows] == [r.quantity for r in second.rows]
    for a, b in zip(first.rows, second.rows):
        for name in ("value", "error", "reference"):
            u, v = getattr(a, name), getattr(b, name)
            if u is None or v is None:
                assert u is v
                continue
            scale = max(abs(u), 0.0 if name != "value" or a.error is None else a.error)
            # A residual of a converged eigenvalue is rounding error, hence the floor.
            assert abs(u - v) <= 1e-3 * scale + 1e-5, (a.quantity, name, u, v)
        assert (a.against, a.study, a.verdict) == (b.against, b.study, b.verdict)
