"""`armillary probe` as a person types it."""

import json
import sys

import numpy as np
import polars as pl
import pytest

from armillary import cli

MODEL = """
import numpy as np
import jax.numpy as jnp
from armillary import probe
from armillary.data import digits
from armillary.measure import cross_entropy

x, y = digits()
weights = jnp.zeros((64, 10))

def problem():
    model = lambda w, batch: batch[0] @ w
    return probe.from_jax(lambda w, b: cross_entropy(model(w, b), b[1]), weights, [(x[:100], y[:100])], outputs=model)

def number():
    return 3

def broken():
    return undefined

def shifting():
    rng = np.random.default_rng(0)
    return probe.from_jax(lambda w, b: (b @ w).mean(), weights, lambda: [rng.normal(size=(5, 64)).astype("float32")])

def integers():
    return probe.from_jax(lambda w, b: (b @ w).mean(), {"w": jnp.ones((64, 2), int)}, [x[:5]])

def endless():
    return probe.from_jax(lambda w, b: (b @ w).mean() / 0, weights, [x[:5]])

def training():
    import torch
    return probe.from_torch(torch.nn.Dropout(), None, [])

def bare():
    return probe.from_torch(None, None, [])
"""


@pytest.fixture
def armillary(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_leave", sys.exit)
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "syntax.py").write_text("def (")

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["armillary", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def test_a_file_s_function(armillary):
    code, out, err = armillary(
        "probe", "model.py:problem", "--only", "sharpness", "--only", "fragility", "--learning-rate", 0.5
    )
    assert code == 0
    assert "largest Hessian eigenvalue" in out
    assert "2/η" in out
    assert "sgd-dynamical-stability: holds" in out
    assert "loss with weights of 4 bits" in out
    assert "sharpness: about" in err


def test_json_is_one_document_on_stdout(armillary):
    code, out, _ = armillary("probe", "model.py:problem", "--only", "sharpness", "--batch-size", 10, "--json")
    found = json.loads(out)
    assert code == 0
    assert (found["parameters"], found["examples"], found["batch_size"]) == (640, 100, 10)
    row = found["rows"][0]
    assert {"value", "error", "reference", "against", "meaning", "source", "study", "verdict"} <= set(row)
    assert row["verdict"] == "holds"


def test_html_stands_alone_and_is_escaped(armillary, tmp_path):
    (tmp_path / "model.py").write_text(
        MODEL.replace("weights = ", "weights = {'<b>w': ")
        .replace("(64, 10))", "(64, 10))}")
        .replace("@ w", "@ w['<b>w']")
    )
    code, out, _ = armillary(
        "probe", "model.py:problem", "--only", "curvature", "--only", "fragility", "--html", "out/report.html"
    )
    assert code == 0
    assert "report: out/report.html" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<figure>") >= 4
    assert "<b>w" not in page
    assert "&lt;b&gt;w" in page
    assert "http" not in page.replace("http-equiv", "")
    assert 'name="viewport"' in page


def test_a_log(armillary, tmp_path):
    rng = np.random.default_rng(0)
    memory = np.linspace(0.1, 0.98, 400)
    x = np.zeros(400)
    for t in range(1, 400):
        x[t] = memory[t] * x[t - 1] + rng.normal()
    frame = pl.DataFrame(
        {"step": range(400), "loss": x + 10, "accuracy": rng.normal(size=400), "note": ["a"] * 400}
    )
    frame.write_csv(tmp_path / "metrics.csv")
    frame.write_parquet(tmp_path / "metrics.parquet")
    code, out, _ = armillary("probe", "--log", "metrics.csv", "--columns", "loss,accuracy")
    assert code == 0
    assert "! loss: trend of its autocorrelation" in out
    assert "as before a tipping point" in out
    assert "accuracy: trend of its variance" in out
    same = json.loads(armillary("probe", "--log", "metrics.parquet", "--json")[1])
    assert [r["quantity"] for r in same["rows"]] == [f"{c}: trend of its {i}" for c in ("loss", "accuracy") for i in ("variance", "autocorrelation")]  # fmt: skip
    assert same["rows"][1]["detail"]["p_value"] < 0.05
    assert armillary("probe", "--log", "metrics.csv", "--html", "log.html")[0] == 0
    assert "<figure>" in (tmp_path / "log.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["probe"], "expected one of FILE.py:FUNCTION, --example or --log"),
        (["probe", "model.py:problem", "--example"], "expected one of"),
        (["probe", "model.py"], "expected FILE.py:FUNCTION"),
        (["probe", "missing.py:problem"], "no such Python file"),
        (["probe", "model.py:problm"], "did you mean 'problem'"),
        (["probe", "model.py:number"], "returns int"),
        (["probe", "model.py:broken"], "line 19: broken() fails: NameError: name 'undefined'"),
        (["probe", "model.py:shifting"], "differs from its first pass"),
        (["probe", "model.py:integers"], "parameter ['w'] is int32: only floating-point parameters"),
        (["probe", "model.py:endless"], "the loss is nan on batch 1"),
        (["probe", "model.py:training"], "training mode: call model.eval()"),
        (["probe", "syntax.py:problem"], "does not import: SyntaxError"),
        (["probe", "model.py:problem", "--only", "sharpnes"], "did you mean 'sharpness'"),
        (["probe", "model.py:problem", "--budget", "0"], "budget=0"),
        (["probe", "model.py:problem", "--batch-size", "-3"], "batch_size=-3"),
        (["probe", "model.py:problem", "--columns", "loss"], "give --log too"),
        (["probe", "--log", "missing.csv"], "no such file"),
        (["probe", "--log", "model.py"], "expected a .csv or .parquet file"),
        (["probe", "--log", "LOG", "--columns", "los"], "did you mean 'loss'"),
        (["probe", "--log", "LOG", "--columns", "word"], "expected numbers"),
        (["probe", "--log", "LOG", "--columns", "gap"], "is nan at row 3"),
        (["probe", "--log", "LOG", "--columns", "short"], "has 5 numbers"),
        (["probe", "--log", "BAD"], "cannot be read"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(armillary, tmp_path, arguments, words):
    gap = [1.0, 2.0, float("nan")] + [4.0] * 22
    frame = pl.DataFrame(
        {"loss": [1.0] * 25, "word": ["a"] * 25, "gap": gap, "short": [1.0] * 5 + [None] * 20}
    )
    frame.write_parquet(tmp_path / "log.parquet")
    (tmp_path / "bad.parquet").write_bytes(b"no parquet")
    names = {"LOG": "log.parquet", "BAD": "bad.parquet"}
    code, out, err = armillary(*(names.get(a, a) for a in arguments))
    assert code == 2
    assert words in err.strip().splitlines()[-1]
    assert "Traceback" not in err
    assert out == ""


def test_without_pytorch_the_extra_is_named(armillary, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    code, _, err = armillary("probe", "model.py:bare")
    assert code == 2
    assert "pip install 'armillary[torch]'" in err.strip().splitlines()[-1]


def test_the_example_that_ships(armillary):
    code, out, _ = armillary("probe", "--example", "--only", "noise", "--only", "pair", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["loss"] < 0.2  # it has learned its digits
    assert {r["measurement"] for r in found["rows"]} == {"noise", "barrier", "similarity"}
