"""A pretrained transformer of 22 million parameters, from its package, through PyTorch."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest

from armillary import probe

pytestmark = [pytest.mark.xdist_group("minilm"), pytest.mark.timeout(1800)]  # one report, of minutes

FILE = Path(__file__).parents[2] / "docs" / "guides" / "probe_minilm.py"


@pytest.fixture(scope="module")
def problem():
    spec = importlib.util.spec_from_file_location("probe_minilm", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.problem()


@pytest.fixture(scope="module")
def report(problem):
    """With two cores' CPU time for a clock: on a busy machine the wall's says nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "perf_counter", lambda: time.process_time() / 2)
        families = ["curvature", "noise", "attention", "fragility"]
        return probe.examine(problem, only=families, budget=200, learning_rate=2e-5, batch_size=16)


def test_it_is_the_pretrained_encoder(problem):
    """True pairs are nearer than false ones, or the weights are not those that the package ships."""
    cosines = np.concatenate([f["outputs"] for f in problem.observe(None, outputs=np.asarray)])
    true = np.arange(len(cosines)) % 2 == 0
    assert np.mean(cosines[true]) > np.mean(cosines[~true]) + 0.2


def test_curvature_noise_attention_and_fragility_in_under_five_minutes_of_two_cores(report):
    assert not report.failed
    assert {row.measurement for row in report.rows} >= {
        "sharpness",
        "spectrum",
        "noise",
        "attention",
        "pruning",
        "rounding",
        "layers",
    }
    assert report.seconds < 300
    for row in report.rows:
        if row.value is not None:
            assert np.isfinite(row.value)


def test_all_six_layers_are_seen(report):
    assert len(report["largest attention logit"].detail["logits"]) == 6
    assert 0 < report["attention entropy"].value < 1


def test_the_leading_eigenpair_is_one(report, problem):
    row = report["largest Hessian eigenvalue"]
    assert row.error < 0.05 * row.value
    assert row.reference == pytest.approx(1e5)


def test_pruning_and_rounding_only_ever_cost_more_at_extremes(report):
    assert report["without 90%"].value > report["without 20%"].value
    assert report["weights of 8 bits"].value == pytest.approx(report.facts["loss"], rel=0.05)
