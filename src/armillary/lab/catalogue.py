"""The catalogue: rows of `papers.toml`, and the study behind a slug or a path."""

import importlib
import importlib.util
import inspect
import re
import sys
import tomllib
import traceback
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from armillary.lab.errors import InputError, nearest
from armillary.lab.study import Study

PAPERS = Path(__file__).parents[1] / "papers"
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


@dataclass(frozen=True)
class Row:
    """One paper of the catalogue."""

    slug: str
    title: str
    year: int
    subject: str
    claim: str
    control: str
    tags: tuple[str, ...] = ()
    agrees: tuple[str, ...] = ()
    """Slugs of papers whose claims support this one's."""
    contradicts: tuple[str, ...] = ()
    """Slugs of papers whose claims are at odds with this one's."""

    @property
    def path(self) -> Path:
        """Where its study stands, or would stand."""
        return PAPERS / self.subject / f"{self.slug.replace('-', '_')}.py"

    @property
    def status(self) -> str:
        """`runnable` if its study stands, else `planned`."""
        return "runnable" if self.path.exists() else "planned"


@dataclass(frozen=True)
class Entry:
    """A study with its name and its file."""

    study: Study
    slug: str
    path: Path | None
    row: Row | None = field(default=None)

    @property
    def title(self) -> str:
        """The paper's title, or the first line of a user's own study file."""
        if self.row:
            return self.row.title
        doc = inspect.getdoc(inspect.getmodule(self.study.experiment)) or self.slug
        return doc.splitlines()[0].strip()


@dataclass(frozen=True)
class Subject:
    """A shelf of the catalogue."""

    name: str
    title: str
    about: str


@cache
def _shelves() -> dict[str, dict[str, Any]]:
    paths = sorted(PAPERS.glob("*/papers.toml"))
    return {path.parent.name: tomllib.loads(path.read_text(encoding="utf-8")) for path in paths}


@cache
def rows() -> dict[str, Row]:
    """Every paper by slug, subjects in alphabetical order."""
    found = {}
    for subject, shelf in _shelves().items():
        for paper in shelf["paper"]:
            lists = {name: tuple(paper.get(name, ())) for name in ("tags", "agrees", "contradicts")}
            row = Row(subject=subject, **{**paper, **lists})
            found[row.slug] = row
    return found


def shelves() -> dict[str, Subject]:
    """The subjects by name, with their titles and what they are about."""
    return {name: Subject(name, s["title"], s["about"]) for name, s in _shelves().items()}


def subjects() -> list[str]:
    """The names of the subjects."""
    return sorted({row.subject for row in rows().values()})


def row(slug: str) -> Row:
    """The paper of that slug.

    **Raises:** `InputError` with the nearest names.
    """
    if slug not in rows():
        raise InputError(f"no paper {slug!r} in the catalogue; {nearest(slug, rows(), what='for example')}")
    return rows()[slug]


def is_path(target: str) -> bool:
    """Whether a target is the path of a study file and no slug."""
    return target.endswith(".py") or "/" in target or "\\" in target


def find(target: str | Path | Study | Entry) -> Entry:
    """The study of a slug, of the path of a user's own file, or itself.

    **Raises:** `InputError` if there is none: unknown slug, planned study, a file that does not import.
    """
    if isinstance(target, Entry):
        return target
    if isinstance(target, Study):
        return _of_study(target)
    if isinstance(target, Path) or is_path(target):
        return _of_file(Path(target))
    if not _SLUG.fullmatch(target):
        raise InputError(f"{target!r} is neither a slug nor a path; {nearest(target, rows(), what='slugs')}")
    paper = row(target)
    if paper.status == "planned":
        raise InputError(
            f"{target!r} is planned: it has no study yet; `armillary show {target}` says what it will test"
        )
    module = importlib.import_module(f"armillary.papers.{paper.subject}.{paper.path.stem}")
    return Entry(module.study, paper.slug, paper.path, paper)


def runnable(subject: str | None = None) -> list[str]:
    """The slugs that have a study."""
    if subject is not None and subject not in subjects():
        raise InputError(f"no subject {subject!r}; {nearest(subject, subjects(), what='subjects')}")
    return [
        r.slug
        for r in rows().values()
        if r.status == "runnable" and (subject is None or r.subject == subject)
    ]


def _of_study(study: Study) -> Entry:
    try:
        path = Path(inspect.getsourcefile(study.experiment) or "").resolve()
    except TypeError:
        path = Path()
    if not path.is_file():  # typed into a notebook or a prompt
        return Entry(study, _named(study.experiment.__name__), None)
    slug = path.stem.replace("_", "-")
    paper = rows().get(slug) if path.is_relative_to(PAPERS) else None
    return Entry(study, slug, path, paper)


def _of_file(path: Path) -> Entry:
    """The study in a file, which is Python: opening it runs it, with all that its reader may do."""
    try:
        path = path.expanduser().resolve()
    except (OSError, ValueError, RuntimeError) as error:  # a loop of links, a null character, nobody's home
        raise InputError(f"{str(path)!r}: {error}") from None
    if path.suffix != ".py" or not path.stem.strip(".") or not path.is_file():
        raise InputError(f"{path}: no such study file (a Python file with a `study`)")
    if path.is_relative_to(PAPERS) and (paper := rows().get(path.stem.replace("_", "-"))):
        return find(paper.slug)
    study = getattr(load_file(path), "study", None)
    if not isinstance(study, Study):
        raise InputError(f"{path}: has no `study = Study(...)`; `armillary new NAME` writes one that runs")
    return Entry(study, path.stem.replace("_", "-").lower(), path)


def load_file(path: Path) -> ModuleType:
    """A person's own Python file as a module; it may import its neighbours.

    **Raises:** `InputError`, naming the line, if it does not import.
    """
    name = f"armillary_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    if str(path.parent) not in sys.path:
        sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (Exception, SystemExit) as error:
        raise InputError(
            f"{line_of(error, path)}: does not import: {type(error).__name__}: {error}"
        ) from None
    return module


def line_of(error: BaseException, path: Path) -> str:
    """The file and the line in it from which an error came."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
    number = frames[-1].lineno if frames else getattr(error, "lineno", None)
    return f"{path}, line {number}" if number else str(path)


def _named(name: str) -> str:
    """A function's name as a folder's and a file's: letters, digits, `-` and `.`, and no way out of the folder."""
    return re.sub(r"[^\w.]+", "-", name.replace("_", "-")).strip("-.") or "study"
