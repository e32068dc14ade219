"""What every study must meet, and that the rows and the modules agree."""

import ast
import inspect
import re

import pytest

from armillary.lab import catalogue, fingerprint, record, settings
from armillary.report.show import section

RUNNABLE = catalogue.runnable()


def test_the_catalogue_is_whole():
    rows = list(catalogue.rows().values())
    assert len(rows) == 226
    assert len({r.title for r in rows}) == 226
    for row in rows:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.slug), row.slug
        assert re.fullmatch(r"[a-z_]+", row.subject), row.subject
        assert 1950 < row.year < 2030, row.slug
        assert row.title.strip() == row.title != "", row.slug
        assert 5 <= len(row.claim.split()) <= 90, row.slug
        assert 5 <= len(row.control.split()) <= 90, row.slug
        assert row.tags, row.slug
        for other in (*row.agrees, *row.contradicts):
            assert other in catalogue.rows(), f"{row.slug}: no paper {other}"
            assert other != row.slug


def test_every_study_has_its_row():
    stems = {r.path for r in catalogue.rows().values()}
    for path in catalogue.PAPERS.glob("*/*.py"):
        assert path.name == "__init__.py" or path in stems, f"{path} has no row in papers.toml"


@pytest.mark.parametrize("slug", RUNNABLE)
def test_study(slug):
    entry = catalogue.find(slug)
    study = entry.study
    doc = inspect.getdoc(inspect.getmodule(study.experiment))
    assert doc.startswith(f"{entry.row.title} ({entry.row.year})"), "the docstring opens with title (year)"
    for name in ("claim", "control", "scope"):
        assert section(study, name), f"no {name.capitalize()}: in the docstring"
    assert study.checks
    assert study.figure is not None
    assert study.full
    for check in (*study.checks, *study.requires):
        assert check.because, f"{check.id}: why this bound?"
        if check.basis == "pilot":
            assert study.pilot_seeds, f"{check.id} was fixed after a look: name the seeds"
            assert section(study, "departures")
    for scale in settings.SCALES:
        settings.arms(study, scale)
    assert not _is_private(study), "a study may not reach into a method's private names"


@pytest.mark.parametrize("slug", RUNNABLE)
def test_study_has_a_record_with_a_control_beside_every_check(slug):
    entry = catalogue.find(slug)
    found = record.latest(entry)
    assert found is not None, f"armillary record {slug}"
    assert found["seeds"] >= 5
    assert found["seconds"] <= 60
    for check in found["checks"]:
        assert check["controls"]
        if check["verdict"] == "holds":
            low, high = (
                x if x is not None else s for x, s in zip(check["bound"], (-float("inf"), float("inf")))
            )
            assert low <= check["low"] <= check["high"] <= high
            for control in check["controls"]:
                assert control["low"] is None or control["high"] < low or control["low"] > high


@pytest.mark.parametrize("slug", [s for s in RUNNABLE if record.latest(catalogue.row(s))])
def test_study_has_its_figure_beside_its_record(slug):
    path = catalogue.row(slug).path
    assert path.with_suffix(".svg").is_file(), f"armillary record --figures {slug}"
    assert path.with_suffix(".png").is_file(), f"armillary record --figures {slug}"
    assert path.with_suffix(".svg").stat().st_size < 400_000, "draw fewer points, or rasterize them"
    assert path.with_suffix(".png").stat().st_size < 60_000


@pytest.mark.parametrize("slug", RUNNABLE)
def test_the_fingerprint_covers_the_study(slug):
    entry = catalogue.find(slug)
    assert entry.path in fingerprint.sources(entry.path)


def _is_private(study):
    tree = ast.parse(inspect.getsource(inspect.getmodule(study.experiment)))
    imports = [a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names]
    return any(name.startswith("_") for name in imports)
