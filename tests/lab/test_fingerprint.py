"""What changes a hash, and what does not."""

import pytest

from armillary.lab import fingerprint

STUDY = '''"""Title."""
from armillary.train import fit
from armillary import nn
import helper
from armillary.lab import Study

def experiment(key, *, rate=0.1):
    """Words."""
    return {"x": helper.double(rate)}  # a comment

def colour():
    return "red"

def draw(arms):
    colour()
    return 1

study = Study(experiment, figure=draw)
'''


@pytest.fixture
def path(tmp_path):
    (tmp_path / "study.py").write_text(STUDY)
    (tmp_path / "helper.py").write_text("def double(x):\n    return 2 * x\n")
    return tmp_path / "study.py"


def test_sources_are_the_modules_that_names_resolve_to(path):
    names = {p.name for p in fingerprint.sources(path)}
    assert {"study.py", "helper.py", "fit.py", "mlp.py"} <= names
    assert not {"verdict.py", "cli.py", "errors.py"} & names
    files = [p for p in fingerprint.sources(path) if p.parent.name == "train"]
    assert [p.name for p in files] == ["fit.py"]  # only what is used, through the package's re-export


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("# a comment", "# another", False),
        ('"""Words."""', '"""Other words."""', False),
        ('"""Title."""', "", False),
        ("return 1", "return 2", False),
        ('"red"', '"blue"', False),
        ("rate=0.1", "rate=0.2", True),
        ("helper.double(rate)", "helper.double( rate )", False),
    ],
)
def test_code_hash(path, old, new, changes):
    before = fingerprint.code(path)
    path.write_text(STUDY.replace(old, new))
    assert (fingerprint.code(path) != before) is changes


def test_an_edit_in_what_a_study_uses_changes_its_hash(path):
    before, files = fingerprint.code(path), fingerprint.raw(path)
    assert fingerprint.unchanged(files)
    (path.parent / "helper.py").write_text("def double(x):\n    return x + x\n")
    assert fingerprint.code(path) != before
    assert not fingerprint.unchanged(files)


def test_the_lab_s_own_arithmetic_has_a_number(path, monkeypatch):
    import armillary.lab

    before = fingerprint.code(path)
    monkeypatch.setattr(armillary.lab, "NUMERICS", armillary.lab.NUMERICS + 1)
    assert fingerprint.code(path) != before


def test_parsed_sources_are_kept_on_disk_and_give_the_same_hash(path, home, monkeypatch):
    fingerprint._parsed.cache_clear()
    first = fingerprint.code(path), fingerprint.sources(path)
    fingerprint._parsed().keep()
    assert list((home / "sources").glob("*.json"))
    fingerprint._parsed.cache_clear()
    monkeypatch.setattr(fingerprint.ast, "parse", None)  # nothing is parsed again
    assert (fingerprint.code(path), fingerprint.sources(path)) == first
    monkeypatch.undo()
    next((home / "sources").glob("*.json")).write_text("{broken")
    fingerprint._parsed.cache_clear()
    assert fingerprint.code(path) == first[0]
