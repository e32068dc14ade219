"""What is measured, in what order, under what budget; the memory of it; the same key, the same report."""

import json
import subprocess
import sys

import numpy as np
import pytest
from problems import in_torch, random_vectors, trained

from armillary import InputError, probe
from armillary.lab import catalogue, record


@pytest.fixture
def problem(torch_problem):
    return torch_problem


def test_the_same_key_the_same_report(problem):
    first, second, other = (
        probe.examine(problem, only=["curvature", "inputs", "kernel"], budget=None, key=k).to_json()
        for k in (3, 3, 4)
    )
    assert first["rows"] == second["rows"]
    value = lambda report, words: next(r["value"] for r in report["rows"] if words in r["quantity"])
    assert value(first, "trace") != value(other, "trace")
    np.testing.assert_allclose(value(first, "largest"), value(other, "largest"), rtol=1e-3)


def test_a_measurement_does_not_depend_on_which_others_run(problem):
    alone = probe.examine(problem, only=["inputs"], budget=None)["random changes"]
    together = probe.examine(problem, only=["fragility"], budget=None)["random changes"]
    assert alone.value == together.value


def test_only_takes_names_and_families(problem):
    report = probe.examine(problem, only=["pruning", "representation"], budget=None)
    assert {row.measurement for row in report.rows} == {"pruning", "collapse", "rank"}
    with pytest.raises(InputError, match="no measurement 'prunning'; did you mean 'pruning'"):
        probe.examine(problem, only=["prunning"])


def test_the_budget_runs_what_is_cheap_and_lists_the_rest_with_its_cost(problem, monkeypatch):
    monkeypatch.setattr(problem, "seconds", 1.0)  # as if one gradient took a second
    report = probe.examine(problem, only=["fragility", "spectrum"], budget=6)
    done = {row.measurement for row in report.rows}
    assert {"rounding", "pruning"} <= done
    out = {one["measurement"]: one["seconds"] for one in report.left_out}
    assert set(out) == {"spectrum"}
    assert out["spectrum"] == 60  # two probes of twelve products, two and a half gradients each
    assert "inputs" in done
    assert probe.examine(problem, only=["fragility"], budget=0.1).rows == []


def test_the_spectrum_takes_as_many_probes_as_fit(problem, monkeypatch):
    monkeypatch.setattr(problem, "seconds", 1.0)
    counts = []
    for budget in (70, 200, 10_000):
        report = probe.examine(problem, only=["spectrum"], budget=budget)
        counts.append(len(report["eigenvalues above"].detail["nodes"]))
    assert counts == [2 * 12, 3 * 20, 8 * 30]


def test_memory_limits_what_is_kept_and_says_so():
    net, _ = trained(steps=1)
    problem = in_torch(net)
    vector = 4 * problem.size / 1e9
    told = []
    few = probe.examine(problem, only=["sharpness"], memory=10.5 * vector, budget=None, tell=told.append)
    row = few["largest Hessian eigenvalue"]
    many = probe.examine(problem, only=["sharpness"], budget=None)["largest Hessian eigenvalue"]
    assert row.error > many.error  # ten steps and not thirty
    assert row.value <= many.value + 1e-4
    with pytest.raises(InputError, match="holds fewer than two"):
        probe.examine(problem, only=["sharpness"], memory=1.5 * vector)
    # The spectrum without its bases: the same numbers but for rounding.
    lean = probe.examine(problem, only=["spectrum"], memory=10.5 * vector, budget=None)
    rich = probe.examine(problem, only=["spectrum"], budget=None)
    np.testing.assert_allclose(lean["trace"].value, rich["trace"].value, rtol=1e-4)
    np.testing.assert_allclose(lean["trace"].error, rich["trace"].error, rtol=1e-4)
    kernel = probe.examine(problem, only=["kernel"], memory=10.5 * vector, budget=None)
    assert kernel["with the labels"].value > 0


def test_a_measurement_says_which_input_it_lacks():
    net, _ = trained(steps=1)
    report = probe.examine(in_torch(net), only=["attention", "moved", "pair"], budget=None)
    lacks = {one["measurement"]: one["lacks"] for one in report.lacking}
    assert lacks["attention"] == "attention logits (attention=)"
    assert lacks["moved"] == "the parameters before training (start=)"
    assert lacks["barrier"] == lacks["similarity"] == "a second model's parameters (other=)"
    assert report.rows == []


def test_a_failing_measurement_is_reported_and_the_rest_goes_on(problem, monkeypatch):
    def fail(array):
        raise ZeroDivisionError("of a kind")

    monkeypatch.setattr("armillary.probe.representation.effective_rank", fail)
    report = probe.examine(problem, only=["representation"], budget=None)
    assert report.failed == [
        {
            "measurement": "rank",
            "what": "effective rank of the features",
            "error": "ZeroDivisionError: of a kind",
        }
    ]
    assert report["NC1"].value > 0


def test_references_follow_the_training_run(problem):
    bare = probe.examine(problem, only=["sharpness", "noise"], budget=None)
    held = probe.examine(problem, only=["sharpness", "noise"], budget=None, learning_rate=4.0, batch_size=16)
    assert bare["largest Hessian eigenvalue"].reference is None
    row = held["largest Hessian eigenvalue"]
    assert row.reference == 0.5
    assert row.notable
    assert "past the edge" in row.meaning
    assert held["noise scale"].reference == 16


def test_every_row_names_its_paper_and_its_study_s_recorded_verdict(reports):
    report = reports["torch"]
    assert len(report.rows) > 25
    for row in report.rows:
        assert row.source
        assert row.meaning[-1] not in ".!"
        assert row.against
        paper = catalogue.row(row.study)
        past = record.latest(paper) if paper.status == "runnable" else None
        assert row.verdict == (past and past["verdict"])
    document = json.dumps(report.to_json(), allow_nan=False)
    assert json.loads(document)["rows"][0]["quantity"] == report.rows[0].quantity


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"budget": 0}, "budget=0: expected a positive number"),
        ({"memory": -1.0}, "memory=-1.0"),
        ({"learning_rate": float("nan")}, "learning_rate=nan"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"key": -1}, "key=-1"),
    ],
)
def test_bad_settings(problem, options, words):
    with pytest.raises(InputError) as error:
        probe.examine(problem, **options)
    assert words in str(error.value)


def test_jax_lanes_do_not_change_the_numbers(jax_problem, monkeypatch):
    many = jax_problem.hessian(random_vectors(jax_problem, 3))
    monkeypatch.setattr(jax_problem.engine, "lanes", 1)
    np.testing.assert_allclose(
        jax_problem.hessian(random_vectors(jax_problem, 3)), many, rtol=1e-5, atol=1e-6
    )


MEMORY = """
import resource
import numpy as np
import torch
from torch import nn
from armillary import probe

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(50_000, 4)
        self.out = nn.Linear(4, 50_000, bias=False)

    def forward(self, tokens):
        return self.out(self.embedding(tokens)).transpose(1, 2)

torch.set_num_threads(1)
torch.manual_seed(0)
tokens = torch.randint(0, 50_000, (3, 512))
batches = [(t[None], t[None].roll(-1, 1)) for t in tokens]
for rows in (1, 3):
    problem = probe.from_torch(Net().eval(), nn.functional.cross_entropy, batches[:rows])
    problem.hessian(np.ones((1, problem.size), np.float32))
    problem.gradient()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
"""


def test_a_large_vocabulary_takes_the_memory_of_one_micro_batch():
    """Logits of one sequence are 102 MB; those of three would be 307."""
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    one, three = map(float, done.stdout.split())
    assert three < one + 150
