"""Our pages: Markdown with HTML that the template engine has escaped."""

import json
import re
import shutil
from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from armillary import __version__
from armillary.report import news
from armillary.report.site import draw, gather, methods
from armillary.report.site.gather import OWN, Paper

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1]
VERDICTS = ("holds", "fails", "diverged", "vacuous", "undecided", "unrecorded", "planned")
VERBS = ("run", "sweep", "load", "catalogue", "record", "verify")


def write(source: Path, docs: Path, papers: Sequence[Paper]) -> None:
    """Write the folder that MkDocs reads: the guides, our pages, figures and what is static."""
    if docs.is_dir():
        shutil.copytree(docs, source)
    shutil.copytree(HERE / "static", source / "static")
    figures = source / "figures"
    figures.mkdir(parents=True, exist_ok=True)
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
    told = events(papers)
    since = told[0].date[:10] if told else "2026-01-01"
    _page(source / "news.md", "news.html", "New and changed verdicts", events=told, since=since)
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
        natural=_width(paper.figure[0]) if paper.figure else 0,
        bibtex=paper.title.replace("{", r"\{").replace("}", r"\}"),
    )


def _width(figure: Path) -> int:
    """The width in pixels at which a figure's words are as large as the page's."""
    with figure.open(encoding="utf-8") as file:
        found = re.search(r'<svg[^>]*\bwidth="([\d.]+)pt"', file.read(2000))
    return round(float(found[1]) * 1.6) if found else 1200


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
                text += f'\n<span id="{method.path}"></span>\n\n::: armillary.{method.module}.{method.name}\n'
        (folder / f"{name}.md").write_text(text, encoding="utf-8")


def events(papers: Sequence[Paper]) -> list[news.Event]:
    """New and changed verdicts, newest first."""
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
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def _page(path: Path, template: str, title: str, **values: Any) -> None:
    """Render a page. MkDocs' own templates escape nothing: a title reaches them escaped, as JSON, which is YAML."""
    from markupsafe import Markup, escape

    quoted = Markup(json.dumps(str(escape(title))))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(_templates().get_template(template).render(title=quoted, **values), encoding="utf-8")
