"""The command line as a person types it: output, exit codes, one clear line for bad input."""

import json
import shutil
import sys
from pathlib import Path

import polars as pl
import pytest

from armillary import cli
from armillary.lab.store import Store


@pytest.fixture
def armillary(capsys, monkeypatch, tmp_path):
    """Run a command line in a folder of its own: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "_leave", sys.exit)  # the command ends its process where threads still compute

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["armillary", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return call


def test_run_prints_the_verdict_with_its_control(armillary, descent, tmp_path):
    code, out, _ = armillary("run", descent)
    assert code == 0
    assert "verdict: holds" in out
    assert "stable → unstable" in out
    assert (tmp_path / "armillary-out" / "descent.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "armillary-out" / "descent.svg").read_bytes().startswith(b"<?xml")
    code, out, _ = armillary("run", descent)
    assert "16 of 16 runs from the store" in out


def test_run_json_is_one_document_on_stdout(armillary, descent):
    code, out, _ = armillary("run", descent, "--json", "--seeds", 9, "--set", "steps=40", "--explain")
    found = json.loads(out)
    assert code == 0
    assert {"slug", "scale", "seeds", "first_seed", "settings", "seconds", "verdict", "checks"} < set(found)
    assert (found["slug"], found["seeds"], found["settings"]["steps"]) == ("descent", 9, 40)
    check = found["checks"][0]
    assert check["bound"] == [None, 0.001]
    assert check["controls"][0]["substitution"] == "stable → unstable"
    assert check["controls"][0]["low"] > 0.001 > check["high"]
    code, out, _ = armillary("run", descent, descent.replace("descent", "on_host"), "--json", "--seeds", 5)
    assert [r["slug"] for r in json.loads(out)] == ["descent", "on-host"]


def test_a_diverged_claim_is_null_in_json_and_no_pass(armillary, descent):
    code, out, _ = armillary("run", descent, "--json", "--set", "rate=1e3")
    found = json.loads(out)
    assert code == 0
    assert found["verdict"] == "diverged"
    assert found["checks"][0]["low"] is None


def test_an_arm_that_keeps_its_own_value_is_named(armillary, descent):
    code, out, _ = armillary("run", descent, "--seeds", "5", "--set", "rate=0.4")
    assert code == 0
    assert "rate: 'unstable' keeps its own value; what was given is for the other arms" in " ".join(
        out.split()
    )
    assert "keeps its own" not in armillary("run", descent, "--seeds", "5", "--set", "steps=40")[1]
    assert json.loads(armillary("run", descent, "--set", "rate=0.4", "--json")[1])["kept"] == {
        "rate": ["unstable"]
    }
    code, _, err = armillary("sweep", descent, "--over", "steps=10,20", "--set", "rate=0.4", "--seeds", "2")
    assert code == 0
    assert "rate: 'unstable' keeps its own value" in err
    code, _, err = armillary("sweep", descent, "--over", "steps=10", "--set", "rate=0.4", "--arm", "unstable")
    assert code == 2
    assert "arm 'unstable' sets 'rate' itself" in err


def test_run_refuses_settings_that_its_checks_cannot_do_without(armillary):
    code, out, err = armillary("run", "transformer-instability-proxy", "--set", "rate=0.1")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "computed along rate = 0.01, 0.03, 0.1, 0.3" in err


def test_sweep_writes_table_figure_and_parquet(armillary, descent, tmp_path):
    code, out, _ = armillary(
        "sweep", descent, "--over", "rate=log:1e-2:1:4", "--over", "steps=5,10", "--seeds", 3
    )
    assert code == 0
    assert "0.04642" in out
    frame = pl.read_parquet(tmp_path / "armillary-out" / "descent-sweep.parquet")
    assert len(frame) == 2 * 3 * 4 * 2
    assert {"arm", "seed", "rate", "steps", "final", "curve"} <= set(frame.columns)
    one = frame.filter(pl.col("arm") == "stable", pl.col("steps") == 5, pl.col("rate") == 1.0)
    assert one["final"].to_list() == [0.0] * 3
    assert len(one["curve"][0]) == 10  # padded to the longest
    assert (tmp_path / "armillary-out" / "descent-sweep.png").exists()
    code, out, _ = armillary("sweep", descent, "--over", "rate=0.1,0.2", "--arm", "stable", "--json")
    assert json.loads(out)["over"] == {"rate": [0.1, 0.2]}


def test_runs_queries_the_store(armillary, descent):
    armillary("run", descent)
    code, out, _ = armillary("runs", "--where", "study = 'descent' AND rate > 2 AND seed < 3", "--json")
    found = json.loads(out)
    assert code == 0
    assert sorted(r["seed"] for r in found) == [0, 1, 2]
    assert len(found[0]["curve"]) == 30
    assert "of 8 runs in" in armillary("runs", "--where", "rate > 2")[1]


def test_record_and_verify(armillary, descent, home):
    assert armillary("verify", descent)[0] == 2
    assert armillary("record", descent)[0] == 0
    code, out, _ = armillary("verify", descent)
    assert code == 0
    assert "holds, as recorded" in out
    path = next((home / "records").glob("descent-*.json"))
    document = json.loads(path.read_text())
    entry = document["history"][0]
    assert {"date", "seeds", "code", "versions", "machine", "verdict", "checks"} <= set(entry)
    entry["verdict"] = entry["checks"][0]["verdict"] = "fails"
    path.write_text(json.dumps(document))
    code, out, _ = armillary("verify", descent)
    assert code == 1
    assert "recorded fails, now holds" in out
    armillary("record", descent)
    assert len(json.loads(path.read_text())["history"]) == 2  # a history, appended to


def test_run_takes_the_record_s_number_of_seeds(armillary, descent, home):
    armillary("record", descent)
    path = next((home / "records").glob("descent-*.json"))
    path.write_text(path.read_text().replace('"seeds": 8', '"seeds": 6'))
    assert json.loads(armillary("run", descent, "--json")[1])["seeds"] == 6


def test_new_writes_a_study_that_runs(armillary):
    assert armillary("new", "my-claim")[0] == 0
    code, out, _ = armillary("run", "my_claim.py", "--json")
    assert code == 0
    assert json.loads(out)["verdict"] == "holds"
    assert armillary("new", "my-claim")[0] == 2


def test_show_and_list(armillary, descent):
    code, out, _ = armillary("show", descent)
    assert code == 0
    for words in ("with a step below 2", "rate", "≤ 0.001", "|1 - rate| < 1", descent[-20:]):
        assert words in " ".join(out.split())
    assert json.loads(armillary("show", descent, "--json")[1])["settings"]["steps"] == {
        "quick": 30,
        "full": 100,
    }
    rows = json.loads(armillary("list", "--json")[1])
    assert {"slug", "title", "year", "subject", "status", "verdict", "stale"} == set(rows[0])
    some = json.loads(armillary("list", "--subject", "in_context", "--search", "one step", "--json")[1])
    assert "one-step-gd" in [r["slug"] for r in some]
    assert len(some) < len(rows)


def test_until_decided_adds_seeds(armillary, descent):
    found = json.loads(armillary("run", descent, "--until-decided", "--json")[1])
    assert (found["verdict"], found["seeds"]) == ("holds", 8)


def test_record_keeps_a_figure_and_draws_it_again(armillary, descent, home):
    assert armillary("record", descent)[0] == 0
    figure = next((home / "records").glob("descent-*.svg"))
    assert figure.with_suffix(".png").is_file()
    figure.unlink()
    code, out, _ = armillary("record", "--figures", descent)
    assert (code, out.strip()) == (0, str(figure))
    assert figure.is_file()


def test_digest(armillary):
    code, out, _ = armillary("digest")
    assert code == 0
    assert any("one-step-gd" in line and "holds" in line for line in out.splitlines())
    found = json.loads(armillary("digest", "--json")[1])
    assert [e["date"] for e in found] == sorted((e["date"] for e in found), reverse=True)
    assert armillary("digest", "--since", "2999-01-01")[1].strip() == "no new or changed verdict"
    newest = found[0]["date"][:10]
    assert all(e["date"] >= newest for e in json.loads(armillary("digest", "--since", newest, "--json")[1]))


STUDIES = {
    "broken.py": "import nothing_of_this_name",
    "syntax.py": "def (",
    "empty.py": "x = 1",
    "raises.py": "raise RuntimeError('two\\nlines \\x1b[2J [red]x[/]')",
    "exits.py": "import sys; sys.exit(3)",
    "nulls.py": "x = '\0'",
    "other.py": "study = 3",
    "nothing.py": "from armillary.lab import Study\ndef experiment(key, *, a=1.0):\n    return None\nstudy = Study(experiment)",
    "vacant.py": "from armillary.lab import Study, Check, at_most\n"
    "study = Study(lambda key: {}, [Check('c', 's', lambda a: 0, at_most(1))])",
}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "one-step"], "did you mean 'one-step-gd'"),
        (["run", "../etc/passwd"], "no such study file"),
        (["run", "One Step"], "neither a slug nor a path"),
        (["run", "missing.py"], "no such study file"),
        (["run", "broken.py"], "line 1: does not import: ModuleNotFoundError"),
        (["run", "syntax.py"], "does not import: SyntaxError"),
        (["run", "empty.py"], "has no `study = Study(...)`"),
        (["run", "other.py"], "has no `study = Study(...)`"),
        (["run", "raises.py"], "line 1: does not import: RuntimeError: two lines"),
        (["run", "exits.py"], "line 1: does not import: SystemExit: 3"),
        (["run", "nulls.py"], "nulls.py: does not import: SyntaxError"),
        (["run", "nothing.py"], "must return a dictionary of measurements, not NoneType"),
        (["run", ""], "neither a slug nor a path"),
        (["show", ""], "no paper ''"),
        (["run", "vacant.py"], "has no control"),
        (["run"], "nothing to do"),
        (["run", "DESCENT", "--set", "rat=1"], "did you mean 'rate'"),
        (["run", "DESCENT", "--set", "rate=fast"], "rate='fast': expected a number"),
        (["run", "DESCENT", "--set", "rate="], "rate='': expected a number"),
        (["run", "DESCENT", "--set", "rate=nan"], "rate=nan: expected a finite number"),
        (["run", "DESCENT", "--set", "rate=-inf"], "rate=-inf: expected a finite number"),
        (["run", "DESCENT", "--set", "rate=1e39"], "rate=1e+39: expected a finite number, at most 3.4e+38"),
        (["run", "DESCENT", "--set", "steps=-3"], "steps=-3: expected a whole number that is not negative"),
        (["run", "DESCENT", "--set", "rate=0.1", "--set", "rate=0.2"], "--set rate is given twice"),
        (["run", "descent", "DESCENT", "--set", "rate=0.1"], "no paper 'descent'"),
        (["run", "DESCENT", "--devices", "0"], "--devices 0: expected 1 or more"),
        (["run", "DESCENT", "--devices", "few"], "'few' is not a valid integer."),
        (["run", "DESCENT", "--chunk", "-1"], "--chunk -1: expected 1 or more"),
        (["run", "DESCENT", "--memory", ""], "--memory '': expected an amount of memory"),
        (["run", "DESCENT", "--memory", "0"], "--memory '0': expected more than nothing"),
        (["run", "DESCENT", "--memory", "nan"], "--memory 'nan': expected an amount of memory"),
        (["run", "DESCENT", "--ray", ""], "--ray '': expected local, auto or HOST:PORT"),
        (["run", "DESCENT", "--until-decided", "--seeds", "8"], "--seeds 8 and --until-decided"),
        (["run", "DESCENT", "--seeds", "9" * 20], "at most 1000000"),
        (["run", "DESCENT", "--first-seed", "9" * 20], "less than 2147483648"),
        (["run", "DESCENT", "--out", "/proc/nothing"], "/proc"),
        (["run", "DESCENT", "--set", "rate"], "expected NAME=VALUE"),
        (["run", "DESCENT", "--seeds", "-1"], "--seeds -1: expected 1 or more"),
        (["run", "DESCENT", "--seeds", "many"], "--seeds"),
        (["run", "DESCENT", "--first-seed", "-1"], "first seed -1"),
        (["run", "DESCENT", "--scale", "fast"], "scale 'fast'"),
        (["run", "DESCENT", "--sclae", "full"], "No such option"),
        (["sweep", "DESCENT", "--over", "rate=log:0:1:3"], "positive ends"),
        (["sweep", "DESCENT", "--over", "rate=0.1", "--arm", "stabel"], "did you mean 'stable'"),
        (["show", "one-step"], "did you mean 'one-step-gd'"),
        (["list", "--subject", "dynamic"], "did you mean 'dynamics'"),
        (["sweep", "DESCENT", "--over", "rate=lin:0:nan:3"], "rate=lin:0:nan:3: expected lin:LOW:HIGH:COUNT"),
        (["sweep", "DESCENT", "--over", "rate=0.1,inf"], "rate=inf: expected a finite number"),
        (["sweep", "DESCENT", "--over", "rate=lin:0.1:0.4:99999", "--seeds", "999999"], "at most 10000000"),
        (["new", "n" * 300], "at most 100 lower-case letters"),
        (["site", "build", "--out", "/proc/nothing"], "/proc"),
        (
            ["site", "build", "--url", "javascript:alert(1)"],
            "--url 'javascript:alert(1)': expected an address",
        ),
        (["sweep", "DESCENT", "--over", "rate=0.1,0.1"], "a value stands twice"),
        (["runs", "--where", "x IN (SELECT 1)"], "--where"),
        (["runs", "--limit", "0"], "--limit 0: expected 1 or more"),
        (["runs", "--limit", "9" * 30], "expected at most 1000000000"),
        (["verify", "--sample", "0"], "--sample 0: expected 1 or more"),
        (["verify", "DESCENT", "--sample", "1"], "--sample 1: expected without TARGET"),
        (["frobnicate"], "no command 'frobnicate'"),
        (["swep", "DESCENT"], "did you mean 'sweep'"),
        (["digest", "--since", "last week"], "expected a date"),
        (["site", "build", "--with", "missing.py"], "no such study file"),
        (["site", "build", "--out", "."], "not empty"),
        (["site", "serve", "--port", "99999"], "--port"),
    ],
)
def test_bad_input_is_one_clear_line_and_exit_code_2(armillary, descent, tmp_path, arguments, words):
    for name, text in STUDIES.items():
        (tmp_path / name).write_text(text)
    code, out, err = armillary(*(descent if a == "DESCENT" else a for a in arguments))
    assert code == 2
    assert words in err
    assert len(err.strip().splitlines()) == 1
    assert out == ""


def test_a_planned_paper_has_no_run(armillary):
    planned = next(r for r in json.loads(armillary("list", "--json")[1]) if r["status"] == "planned")
    code, _, err = armillary("run", planned["slug"])
    assert code == 2
    assert "planned" in err
    assert armillary("show", planned["slug"])[0] == 0


def test_an_unwritable_store(armillary, descent, home):
    home.parent.joinpath("home").write_text("a file in the way")
    code, _, err = armillary("run", descent)
    assert code == 2
    assert "cannot write" in err


def test_a_corrupt_file_in_the_store(armillary, descent):
    armillary("run", descent)
    path = Store().files("descent")[0]
    path.write_bytes(b"garbage")
    code, out, err = armillary("runs", "--json")
    assert code == 2
    assert str(path) in err
    assert len(err.strip().splitlines()) == 1
    assert len(json.loads(out)) == 8  # the other file
    assert path.with_suffix(".corrupt").exists()
    assert armillary("run", descent)[0] == 0


def test_an_unwritable_output_folder(armillary, descent, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = armillary("run", descent, "--out", "file/below")
    assert code == 2
    assert "--out 'file/below': cannot write in" in err
    assert not Store().files()  # it is said before anything runs


def test_a_figure_that_cannot_be_drawn_costs_no_verdict(armillary, tmp_path, descent):
    raising = "def figure(data):\n    raise ValueError('no figure today')\n\n\nstudy = "
    text = Path(descent).read_text().replace("study = ", raising).replace("full={", "figure=figure, full={")
    (tmp_path / "undrawn.py").write_text(text)
    code, out, err = armillary("run", "undrawn.py")
    assert (code, err.count("\n")) == (1, 1)
    assert "verdict: holds" in out
    assert "undrawn.py, line" in err
    assert "ValueError: no figure today" in err
    code, out, _ = armillary("run", "undrawn.py", "--json")
    assert (code, json.loads(out)["figure"]) == (1, None)


def test_what_nobody_foresaw_is_one_line(armillary, monkeypatch):
    monkeypatch.setattr("armillary.api.catalogue", lambda: 1 / 0)
    code, out, err = armillary("list")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "ZeroDivisionError: division by zero; ARMILLARY_TRACEBACK=1 shows" in err
    monkeypatch.setenv("ARMILLARY_TRACEBACK", "1")
    monkeypatch.setattr(sys, "argv", ["armillary", "list"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_failing_run_is_exit_code_1(armillary, tmp_path, descent):
    shutil.copy(descent, tmp_path / "late.py")
    text = (
        (tmp_path / "late.py")
        .read_text()
        .replace("dim=3", "dim=3, bad=0")
        .replace("x = jax", "1 / 0\n    x = jax")
    )
    (tmp_path / "late.py").write_text(text)
    code, _, err = armillary("run", "late.py")
    assert code == 1
    assert "ZeroDivisionError" in err
    assert "Traceback" not in err


CURVES = '''
"""Nothing but curves."""
import jax.numpy as jnp
from armillary.lab import Study


def experiment(key, *, rate=0.1):
    return {"curve": rate * jnp.arange(3.0)}


study = Study(experiment, dims={"curve": ("step",)})
'''


def test_a_sweep_of_curves_shows_where_they_end(armillary, tmp_path):
    (tmp_path / "curves.py").write_text(CURVES)
    code, out, _ = armillary("sweep", tmp_path / "curves.py", "--over", "rate=0.1,0.3", "--seeds", 2)
    assert code == 0
    assert "the last value of each curve" in " ".join(out.split())
    assert ["0.3", "0.6"] in [line.split() for line in out.splitlines()]
    assert "no figure" in out
