"""The static site: our pages as Markdown with HTML in it, then MkDocs with the Material theme."""

import importlib.util
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from armillary import __version__
from armillary.lab.errors import InputError
from armillary.report import news
from armillary.report.site import gather, methods, pages
from armillary.report.site.gather import NUCLEUS

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1]
MARK = ".armillary-site"
"""A file that says that a folder is a site of ours, which the next build may replace."""


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
        pages.write(source, docs(), papers)
        warnings = _mkdocs(source, made, url)
        (made / "feed.xml").write_bytes(news.atom(pages.events(papers), url=url))
        for name in ("404.html", "sitemap.xml", "sitemap.xml.gz", "objects.inv"):
            (made / name).unlink(missing_ok=True)
        for path in made.rglob("*.map"):
            path.unlink()
        (made / MARK).write_text(f"built by armillary {__version__}\n")
        count = sum(1 for _ in made.rglob("*.html"))
        _replace(made, out)
    return Built(out, len(papers), count, time.monotonic() - start, tuple(warnings))


def needed() -> None:
    """**Raises:** `InputError` if the site's extra is not installed."""
    for module in (
        "jinja2",
        "latex2mathml",
        "material",
        "mkdocs",
        "mkdocstrings_handlers",
        "pygments",
        "yaml",
    ):
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
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot write to {out.parent}: {error.strerror}") from None
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
