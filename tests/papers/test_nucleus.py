"""The first minutes of the studies in depth, without running them: what full scale takes, and what may stop a run."""

import re
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.extend import core

from armillary.lab import backend, catalogue, record, settings, sweep
from armillary.lab.forecast import SPEED, operations
from armillary.lab.plan import Plan, chunk_size, subprograms

NUCLEUS = (
    "linear-attention-icl", "one-step-gd", "icl-gradient-descent", "icl-learning-algorithm", "icl-iterative-newton",
    "sgd-dynamical-stability", "logistic-to-perceptron", "gradient-coherence", "hierarchical-polynomials",
    "feature-learning-limits", "transformer-instability-proxy", "landscaping-lmc", "deep-neuroevolution",
    "gradient-boosted-network", "generalized-teacher-forcing", "lagrangian-pinn",
)  # fmt: skip
DOCS = Path(__file__).parents[2] / "docs" / "nucleus"
GB = 1e9
RUN = 3.5 * GB
"""Two cores and two runs side by side stay within 8 GB, with what compiling leaves."""
EQUATIONS = 5_000
"""Of a program; up to 3,600 compile in half a minute."""
DECADE = 10 * 365 * 86400


def groups(slug, scale):
    entry = catalogue.find(slug)
    found, *_ = sweep._plan(entry.study, "", settings.arms(entry.study, scale), range(entry.study.seeds))
    return list(found.values())


def count(jaxpr: core.Jaxpr) -> int:
    inside = [p for eqn in jaxpr.eqns for value in eqn.params.values() for p in subprograms(value)]
    return len(jaxpr.eqns) + sum(map(count, inside))


@pytest.mark.parametrize("slug", NUCLEUS)
def test_full_scale_fits_a_small_machine_and_would_end(slug):
    work = 0.0
    for group in groups(slug, "full"):
        size = backend.trace(group)
        held = size.peak + size.outputs
        assert held < RUN, f"a run holds {held / GB:.1f} GB ({group.settings})"
        jaxpr = backend.traced(group)[0].jaxpr
        assert count(jaxpr) < EQUATIONS, f"unrolled? {count(jaxpr)} operations ({group.settings})"
        work += operations(jaxpr) * len(group.seeds)
    assert 0 < work / SPEED < DECADE


def batched(jaxpr: core.Jaxpr) -> Iterator[str]:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name in ("cholesky", "lu", "eigh", "eig") and eqn.invars[0].aval.ndim > 2:
            yield f"{eqn.primitive.name} of {eqn.invars[0].aval.str_short()}"
        for value in eqn.params.values():
            for inside in subprograms(value):
                yield from batched(inside)


@pytest.mark.parametrize("slug", NUCLEUS)
def test_no_batch_of_matrices_is_factorized_at_once(slug):
    """Two devices' programs that did were seen to stop for good; `measure.eigen` takes one matrix after another."""
    for group in groups(slug, "quick"):
        chunk = chunk_size(len(group.seeds), 2, "cpu", backend.trace(group), 8 << 30, Plan())
        closed, _ = backend.traced(group)
        given = [jax.ShapeDtypeStruct(a.shape, a.dtype) for a in closed.in_avals]
        program = core.jaxpr_as_fun(closed)
        if chunk > 1:  # seeds and floats are each run's own
            program = jax.vmap(program, (0, 0, *[None] * (len(given) - 2)))
            given[:2] = [jax.ShapeDtypeStruct((chunk, *a.shape), a.dtype) for a in given[:2]]
        with jax.enable_x64(group.study.x64):
            assert not list(batched(jax.make_jaxpr(program)(*given).jaxpr))


def test_a_batch_of_matrices_would_be_noticed():
    found = list(batched(jax.make_jaxpr(jax.vmap(jax.numpy.linalg.eigh))(np.ones((3, 2, 2))).jaxpr))
    assert found == ["eigh of float32[3,2,2]"]


@pytest.mark.parametrize("slug", NUCLEUS)
def test_its_page_says_how_many_seeds_the_record_has(slug):
    """What is said of a number of seeds ages when a study is recorded anew."""
    page = " ".join((DOCS / f"{slug}.md").read_text().split())
    found = re.search(
        r"99% intervals over (\d+) seeds|Intervals are 99% over (\d+) seeds|(\d+) seeds, 99% intervals", page
    )
    assert found, "the page says nowhere over how many seeds its intervals are"
    assert int(next(filter(None, found.groups()))) == record.latest(catalogue.find(slug))["seeds"]
