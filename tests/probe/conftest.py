import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def nets():
    """A trained network, its state before training, and another one."""
    from problems import trained

    net, start = trained()
    return net, start, trained(seed=1)[0]


@pytest.fixture(scope="session")
def jax_problem(nets):
    from problems import in_jax, tree

    net, start, other = nets
    return in_jax(tree(net.state_dict()), start=tree(start), other=tree(other.state_dict()))


@pytest.fixture(scope="session")
def torch_problem(nets):
    from problems import in_torch

    net, start, other = nets
    return in_torch(net, start=start, other=other)


@pytest.fixture(scope="session")
def reports(jax_problem, torch_problem):
    """Of the same weights in both frameworks."""
    from armillary import probe

    options = {"learning_rate": 0.1, "batch_size": 20, "budget": None}
    return {p.framework: probe.examine(p, **options) for p in (jax_problem, torch_problem)}
