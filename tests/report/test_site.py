"""The built site as files: pages, links, titles with markup, the feed, and what a build refuses."""

import importlib.util
import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections import Counter, defaultdict
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import parse_qsl, unquote
from xml.etree import ElementTree

import pytest

from armillary.lab import catalogue
from armillary.lab.errors import InputError
from armillary.report import news
from armillary.report.site import build
from armillary.report.site.builder import MARK
from armillary.report.site.pages import VERDICTS

from .conftest import MARKUP


class Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.links, self.empty, self.ids, self.names, self.images = [], [], set(), [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if found.get("id"):
            self.ids.add(found["id"])
            self.names.append(found["id"])
        for name in ("href", "src"):
            if found.get(name):
                self.links.append(found[name])
            elif name in found:
                self.empty.append(self.get_starttag_text())
        if tag == "img":
            self.images.append(found)


@pytest.fixture(scope="module")
def pages(site):
    return {p: Links(p.read_text(encoding="utf-8")) for p in site.path.rglob("*.html")}


def test_it_is_built_in_time_without_a_complaint_and_runs_nothing(site):
    assert site.seconds < 60
    assert site.warnings == []
    assert not (site.home / "runs").exists()


def test_every_paper_and_subject_has_its_page(site):
    for row in catalogue.rows().values():
        assert (site.path / "papers" / f"{row.slug}.html").is_file()
    for name in catalogue.subjects():
        assert (site.path / "subjects" / f"{name}.html").is_file()
    index = (site.path / "index.html").read_text()
    assert index.count("<li data-slug=") == len(catalogue.rows()) + 1


def test_a_text_opens_its_subjects_page(site, pages):
    page = site.path / "subjects" / "surveys.html"
    text = page.read_text(encoding="utf-8")
    title = catalogue.shelves()["surveys"].title
    in_order = (f"<h1>{title}", ">What they say together", 'alt="Learned above', 'class="arm-cards')
    places = [text.index(words) for words in in_order]
    assert places == sorted(places)
    assert "Left out" not in text
    assert "../papers/one-step-gd.html" in pages[page].links


def test_no_internal_link_is_broken(site, pages):
    broken = defaultdict(set)
    for path, found in pages.items():
        for link in found.links:
            if re.match(r"[a-z]+:", link):
                assert link.startswith(("https:", "http:", "data:", "mailto:", "javascript:")), link
                continue
            name, _, anchor = link.partition("#")
            target = (path.parent / unquote(name)).resolve() if name else path
            if not target.is_file():
                broken[link].add(path.name)
            elif anchor and target.suffix == ".html" and target != site.path / "index.html":
                if unquote(anchor) not in pages[target].ids:
                    broken[link].add(path.name)
    assert not broken


def test_every_link_goes_somewhere_and_every_anchor_is_one_place(site, pages):
    assert {path.name: found.empty for path, found in pages.items() if found.empty} == {}
    twice = {
        path.name: names
        for path, found in pages.items()
        if (names := [n for n, count in Counter(found.names).items() if count > 1])
    }
    assert twice == {}
    catalogue_page = pages[site.path / "index.html"]
    assert {a.partition("#")[0] for a in catalogue_page.links} >= {
        f"papers/{slug}.html" for slug in catalogue.rows()
    }


def test_links_to_views_of_the_catalogue_name_what_it_knows(site, pages):
    """A link such as index.html#subject=dynamics&verdict=holds shows some papers."""
    rows = catalogue.rows().values()
    known = {
        "subject": {r.subject for r in rows} | {"yours"},
        "tag": {t for r in rows for t in r.tags},
        "verdict": set(VERDICTS),
    }
    for path, found in pages.items():
        for link in found.links:
            name, _, anchor = link.partition("#")
            if anchor and "=" in anchor and (path.parent / name).resolve() == site.path / "index.html":
                for key, value in parse_qsl(anchor):
                    assert value in known[key], (path.name, link)


def test_what_the_search_finds_is_there(site, pages):
    index = json.loads((site.path / "search" / "search_index.json").read_text(encoding="utf-8"))
    assert len({d["location"].partition("#")[0] for d in index["docs"]}) > len(catalogue.rows())
    for found in index["docs"]:
        name, _, anchor = found["location"].partition("#")
        page = pages[site.path / (name or "index.html")]
        assert not anchor or anchor in page.ids, found["location"]


def test_styles_and_scripts_name_no_other_host(site):
    for path in [*site.path.rglob("*.css"), *(site.path / "static").glob("*.js")]:
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"url\(\s*['\"]?(https?:)?//", text), path.name
        assert "@import" not in text, path.name


def test_every_picture_says_what_it_shows_or_that_it_decorates(pages):
    assert all("alt" in image for found in pages.values() for image in found.images)


def test_a_title_with_markup_is_text_wherever_it_stands(site):
    for name in (
        "index.html",
        "papers/own-claim.html",
        "subjects/yours.html",
        "news.html",
        "search/search_index.js",
    ):
        text = (site.path / name).read_text(encoding="utf-8")
        assert "document.title = " in text, name
        assert "<script>document.title" not in text, name
        assert "<b>Bold" not in text, name


def test_a_recorded_page_tells_what_held_and_what_broke(site):
    text = (site.path / "papers" / "own-claim.html").read_text(encoding="utf-8")
    for words in (
        "the loss goes to zero",
        "stable → unstable",
        "inside",
        "outside",
        "armillary verify",
        "History",
        "seeds",
    ):
        assert words in text, words
    assert (site.path / "figures" / "own-claim.svg").is_file()
    assert (site.path / "figures" / "own-claim.png").is_file()


def test_a_planned_page_says_so(site):
    planned = next(r for r in catalogue.rows().values() if r.status == "planned")
    text = (site.path / "papers" / f"{planned.slug}.html").read_text(encoding="utf-8")
    assert "there is no study yet" in text
    assert "armillary run" not in text


def test_the_feed_says_what_the_digest_says(site):
    feed = ElementTree.parse(site.path / "feed.xml").getroot()
    name = f"{{{news.ATOM}}}"
    entries = feed.findall(f"{name}entry")
    events = news.of_catalogue()
    assert len(entries) == min(100, len(events) + 1)
    newest = [e.find(f"{name}updated").text for e in entries]
    assert newest == sorted(newest, reverse=True)
    assert entries[0].find(f"{name}title").text == f"holds: {MARKUP}"
    for entry in entries:
        assert (site.path / entry.find(f"{name}link").get("href")).is_file()


def entry(date, verdict):
    return {"date": f"2026-01-{date}T00:00:00+00:00", "verdict": verdict}


def test_events_are_first_and_changed_verdicts():
    history = [entry("01", "undecided"), entry("02", "undecided"), entry("03", "holds"), entry("04", "holds")]
    found = news.of_history("a", "A", history)
    assert [(e.date[8:10], e.words) for e in found] == [("01", "undecided"), ("03", "undecided → holds")]
    late = news.newest_first(found, news.day("2026-01-02"))
    assert [e.words for e in late] == ["undecided → holds"]
    with pytest.raises(InputError, match="expected a date"):
        news.day("yesterday")


def test_a_folder_that_is_not_ours_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="not empty"):
        build(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        build(tmp_path / "thesis.tex")
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    assert MARK not in [p.name for p in tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["one_step_gd.py", "a b.py", "ü.py", "x'.py", "__.py"])
def test_a_file_that_cannot_have_a_page_is_named(tmp_path, descent, name):
    path = tmp_path / name
    shutil.copy(descent, path)
    with pytest.raises(InputError, match="page"):
        build(tmp_path / "out", [path])
    assert not (tmp_path / "out").exists()


def test_without_the_extra_there_is_one_clear_line(monkeypatch, tmp_path):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "mkdocs" else find(name))
    with pytest.raises(InputError, match=r"pip install 'armillary\[site\]'"):
        build(tmp_path / "out")


def test_serve_shows_the_site_to_this_machine_and_builds_it_again(tmp_path, descent, home):
    own = shutil.copy(descent, tmp_path / "my_own.py")
    command = [sys.executable, "-m", "armillary.cli", "site", "serve", "--port", "0", "--with", own]
    served = subprocess.Popen(
        [*command, "--out", tmp_path / "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        address = served.stdout.readline().split()[0]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}papers/my-own.html") as page:
            assert b"the loss goes to zero" in page.read()
        Path(own).write_text(Path(own).read_text().replace("the loss goes to zero", "the loss vanishes"))
        assert "built again" in served.stdout.readline()
        with urllib.request.urlopen(f"{address}papers/my-own.html") as page:
            assert b"the loss vanishes" in page.read()
        served.send_signal(signal.SIGINT)
        assert served.wait(20) == 130
        assert served.stderr.read().strip() == "armillary: stopped"
    finally:
        served.kill()
