"""The static site: our pages rendered to Markdown with raw HTML, then MkDocs with the Material theme."""

import logging
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from armillary import __version__
from armillary.lab.errors import InputError
from armillary.report import news
from armillary.report.site import draw, gather, methods
from armillary.report.site.gather import NUCLEUS, OWN, Paper

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1]
MARK = ".armillary-site"
"""A file that says that a folder is a site of ours, which the next build may replace."""
VERDICTS = ("holds", "fails", "diverged", "vacuous", "undecided", "unrecorded", "planned")
VERBS = ("run", "sweep", "load", "catalogue", "record", "verify")


@dataclass(frozen=True)
class Built:
    """A site that was built."""

    path: Path
    papers: int
    pages: int
    seconds: float
    warnings: tuple[str, ...]
    """What MkDocs had to say, one line each."""


def build(out: Path, own: Iterable[str | Path] = (), *, url: str = "") -> Built:
    """Build the site into a folder, replacing an earlier site there. Runs no study.

    **Arguments:**

    - `out`: the folder; it must be new, empty or a site of ours.
    - `own`: paths of study files that get pages beside the catalogue's.
    - `url`: the address under which the site will stand, for the feed's links; relative without one.

    **Raises:** `InputError` if the extra is not installed, a study file cannot be read, or the folder holds
    something else.
    """
    needed()
    start = time.monotonic()
    out = out.expanduser().resolve()
    _check_target(out)
    papers = gather.papers(own)
    if url and not url.endswith("/"):
        url += "/"
    with tempfile.TemporaryDirectory(prefix="armillary-site-") as scratch:
        source, made = Path(scratch, "docs"), Path(scratch, "site")
        _write(source, papers)
        warnings = _mkdocs(source, made, url)
        (made / "feed.xml").write_bytes(news.atom(_events(papers), url=url))
        for name in ("404.html", "sitemap.xml", "sitemap.xml.gz", "objects.inv"):
            (made / name).unlink(missing_ok=True)
        for path in made.rglob("*.map"):
            path.unlink()
        (made / MARK).write_text(f"built by armillary {__version__}\n")
        pages = sum(1 for _ in made.rglob("*.html"))
        _replace(made, out)
    return Built(out, len(papers), pages, time.monotonic() - start, tuple(warnings))


def needed() -> None:
    """**Raises:** `InputError` if the site's extra is not installed."""
    import importlib.util

    for module in ("jinja2", "latex2mathml", "material", "mkdocs", "mkdocstrings_handlers", "pygments"):
        if importlib.util.find_spec(module) is None:
            raise InputError(f"the site needs {module}; pip install 'armillary[site]'")


def docs() -> Path:
    """The folder of guides: a source checkout's, or the one that the package ships."""
    checkout = PACKAGE.parents[1] / "docs"
    return checkout if (checkout.parent / "pyproject.toml").is_file() else PACKAGE / "docs"


def _check_target(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out} is a file; choose another folder")
    if out.is_dir() and any(out.iterdir()) and not (out / MARK).is_file():
        raise InputError(f"{out} is not empty and no site of armillary; choose another folder")
    out.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(out.parent, os.W_OK):
        raise InputError(f"cannot write to {out.parent}")


def _replace(made: Path, out: Path) -> None:
    """Put a site in place of an earlier one, so that no half-written site is ever seen."""
    near = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        shutil.copytree(made, near / "new")
        if out.exists():
            out.rename(near / "old")
        (near / "new").rename(out)
    finally:
        shutil.rmtree(near, ignore_errors=True)


def _events(papers: Sequence[Paper]) -> list[news.Event]:
    return news.newest_first(e for p in papers for e in news.of_history(p.slug, p.title, p.history))


@cache
def _templates() -> Any:
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    made.globals |= {
        "pc": lambda x: f"{x:.2f}%",
        "interval": draw.interval,
        "version": __version__,
        "sentence": lambda text: text[:1].upper() + text[1:],
        "setting": _setting,
        "code": _code,
    }
    made.policies["json.dumps_kwargs"] = {"ensure_ascii": False}
    return made


def _setting(value: Any) -> str:
    """A setting's value as one reads it."""
    if isinstance(value, list | tuple):
        return ", ".join(map(_setting, value)) if value else "none"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _code(text: str) -> Any:
    """A docstring's sentence with its backticks as code."""
    import re

    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _page(path: Path, template: str, title: str, **values: Any) -> None:
    """Render a page. MkDocs' own templates escape nothing: a title reaches them escaped, as JSON, which is YAML."""
    import json

    from markupsafe import Markup, escape

    quoted = Markup(json.dumps(str(escape(title))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_templates().get_template(template).render(title=quoted, **values), encoding="utf-8")


def _write(source: Path, papers: Sequence[Paper]) -> None:
    """The folder that MkDocs reads."""
    if docs().is_dir():
        shutil.copytree(docs(), source)
    shutil.copytree(HERE / "static", source / "static")
    figures = source / "figures"
    figures.mkdir(parents=True)
    for paper in papers:
        if paper.figure:
            for path in paper.figure:
                shutil.copyfile(path, figures / f"{paper.slug}{path.suffix}")
        _paper(source, paper, papers)
    newest = sorted(papers, key=lambda p: p.title.lower())
    newest.sort(key=lambda p: p.verified, reverse=True)
    verdicts = Counter(p.verdict for p in papers)
    tags = Counter(t for p in papers for t in p.tags)
    shelves = _shelves(papers)
    _page(
        source / "index.md",
        "catalogue.html",
        "Catalogue",
        papers=newest,
        subjects=[s["subject"] for s in shelves],
        years=sorted({p.year for p in papers if p.year}, reverse=True),
        tags=sorted(t for t, n in tags.items() if n >= 3),
        counts={
            "runnable": sum(p.runnable for p in papers),
            "verdicts": [(v, verdicts[v]) for v in VERDICTS if verdicts[v]],
        },
    )
    for shelf in shelves:
        name = shelf["subject"].name
        path = source / "subjects" / f"{name}.md"
        story = path.read_text(encoding="utf-8") if path.is_file() else ""
        if story.startswith("# "):
            story = story.partition("\n")[2]
        _page(path, "subject.html", shelf["subject"].title, **shelf, story=story)
    _page(source / "subjects" / "index.md", "subjects.html", "Subjects", shelves=shelves)
    events = _events(papers)
    since = events[0].date[:10] if events else "2026-01-01"
    _page(source / "news.md", "news.html", "New and changed verdicts", events=events, since=since)
    _api(source / "api")
    _list_guides(source / "guides")


def _list_guides(folder: Path) -> None:
    """Name the guides that the list of guides does not."""
    index = folder / "index.md"
    if not index.is_file():
        return
    text = index.read_text(encoding="utf-8")
    for path in sorted(folder.glob("*.md")):
        if path != index and f"({path.name})" not in text:
            title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
            text += f"- [{title}]({path.name})\n"
    index.write_text(text, encoding="utf-8")


def _paper(source: Path, paper: Paper, papers: Sequence[Paper]) -> None:
    last = paper.latest or {}
    path = Path(paper.described.get("source") or "")
    name = path.relative_to(PACKAGE.parent).as_posix() if path.is_relative_to(PACKAGE) else path.name
    _page(
        source / f"{paper.page}.md",
        "paper.html",
        paper.title,
        p=paper,
        checks=draw.drawn(last.get("checks", ())),
        requires=draw.drawn(last.get("requires", ())),
        near=gather.neighbours(paper, papers),
        story=(source / "nucleus" / f"{paper.slug}.md").is_file(),
        example=_highlight(paper.example),
        source=_highlight(paper.source),
        lines=len(paper.source.splitlines()),
        file=name,
        bibtex=paper.title.replace("{", r"\{").replace("}", r"\}"),
    )


def _highlight(code: str) -> Any:
    from markupsafe import Markup
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import PythonLexer

    return Markup(highlight(code, PythonLexer(), HtmlFormatter(nowrap=True)).rstrip())


def _shelves(papers: Sequence[Paper]) -> list[dict[str, Any]]:
    """The subjects in order of title, the user's own first, each with its papers and verdicts."""
    made = []
    subjects = sorted({p.subject for p in papers}, key=lambda s: (s != OWN, s.title))
    for subject in subjects:
        mine = sorted(
            (p for p in papers if p.subject == subject),
            key=lambda p: (not p.runnable, -(p.year or 9999), p.title),
        )
        counts = Counter(p.verdict for p in mine)
        made.append(
            {"subject": subject, "papers": mine, "verdicts": [(v, counts[v]) for v in VERDICTS if counts[v]]}
        )
    return made


def _api(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    verbs = "\n\n".join(f"::: armillary.{name}" for name in VERBS)
    (folder / "index.md").write_text(
        f'# armillary\n\nThe verbs, as in `armillary.run("one-step-gd")`.\n\n{verbs}\n\n::: armillary.result.Result\n',
        encoding="utf-8",
    )
    for name in ("lab", *methods.packages()):
        shown = "options: {show_root_heading: false, show_root_toc_entry: false}"
        text = f"# armillary.{name}\n\n::: armillary.{name}\n    {shown}\n"
        for method in methods.exported().values():
            if method.package == name and method.hidden:
                text += f"\n::: {method.anchor}\n"
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def _nav(source: Path) -> list[Any]:
    subjects = sorted(p for p in (source / "subjects").glob("*.md") if p.stem != "index")
    stories = [source / "nucleus" / f"{slug}.md" for slug in NUCLEUS]
    stories += sorted(p for p in (source / "nucleus").glob("*.md") if p not in stories and p.stem != "index")
    first = {"first-ten-minutes": 0, "your-own-study": 1, "probe": 2, "laptop-to-cluster": 3, "verdicts": 4}
    guides = sorted((source / "guides").glob("*.md"), key=lambda p: (first.get(p.stem, 9), p.stem))
    others = sorted(p for p in source.glob("*.md") if p.stem not in ("index", "news"))
    api = [source / "api" / f"{name}.md" for name in ("index", "lab", *methods.packages())]

    def section(folder: str, paths: Sequence[Path]) -> list[str]:
        found = [source / folder / "index.md", *paths]
        return [p.relative_to(source).as_posix() for p in dict.fromkeys(found) if p.is_file()]

    sections = {
        "Subjects": section("subjects", subjects),
        "The nucleus": section("nucleus", stories),
        "Guides": section("guides", [*(g for g in guides if g.stem != "index"), *others]),
        "API": section("api", api),
    }
    return [
        {"Catalogue": "index.md"},
        *({name: pages} for name, pages in sections.items() if pages),
        {"News": "news.md"},
    ]


def _mkdocs(source: Path, made: Path, url: str) -> list[str]:
    """Run MkDocs; its warnings."""
    os.environ["NO_MKDOCS_2_WARNING"] = "1"
    import yaml
    from mkdocs.commands.build import build as mkdocs_build
    from mkdocs.config import load_config

    config = source.parent / "mkdocs.yml"
    base = (HERE / "mkdocs.yml").read_text(encoding="utf-8")
    more = {"nav": _nav(source), "hooks": [str(HERE / "hooks.py")], "site_url": url or None}
    config.write_text(
        f"{base}\n{yaml.safe_dump(more, allow_unicode=True, sort_keys=False)}", encoding="utf-8"
    )
    log = logging.getLogger("mkdocs")
    kept = _Kept()
    level, propagate = log.level, log.propagate
    log.addHandler(kept)
    log.setLevel(logging.WARNING)
    log.propagate = False
    try:
        loaded = load_config(str(config), docs_dir=str(source), site_dir=str(made))
        loaded.theme.dirs.insert(0, str(HERE / "theme"))
        loaded.plugins["mkdocstrings"].config["handlers"]["python"]["paths"] = [str(PACKAGE.parent)]
        mkdocs_build(loaded)
    finally:
        log.removeHandler(kept)
        log.setLevel(level)
        log.propagate = propagate
    return kept.lines


class _Kept(logging.Handler):
    """Keeps warnings as lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, found: logging.LogRecord) -> None:
        self.lines.append(found.getMessage().strip().splitlines()[0])
