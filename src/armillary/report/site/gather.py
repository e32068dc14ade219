"""All that the site says of a paper, gathered from its row, its study, its record and its figure. Runs nothing."""

import re
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from armillary.lab import catalogue, record
from armillary.lab.catalogue import Entry, Row
from armillary.lab.errors import InputError
from armillary.report import show
from armillary.report.site import methods
from armillary.report.site.methods import Method

OWN = catalogue.Subject("yours", "Your studies", "Studies from your own files.")
NUCLEUS = (
    "linear-attention-icl",
    "icl-gradient-descent",
    "one-step-gd",
    "icl-learning-algorithm",
    "icl-iterative-newton",
    "sgd-dynamical-stability",
    "logistic-to-perceptron",
    "gradient-coherence",
    "hierarchical-polynomials",
    "feature-learning-limits",
    "transformer-instability-proxy",
    "landscaping-lmc",
    "deep-neuroevolution",
    "gradient-boosted-network",
    "generalized-teacher-forcing",
    "lagrangian-pinn",
)
"""The sixteen papers that have a page in docs/nucleus, in the order of the story."""
_SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_TESTBEDS = ("data", "nn")


@dataclass(frozen=True)
class Paper:
    """A paper of the catalogue or a user's own study, with everything that its page says."""

    slug: str
    title: str
    year: int | None
    subject: catalogue.Subject
    claim: str
    control: str
    tags: tuple[str, ...] = ()
    agrees: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()
    described: dict[str, Any] = field(default_factory=dict)
    """What `armillary show --json` prints; empty for a planned paper."""
    history: Sequence[record.Record] = ()
    stale: bool | None = None
    figure: tuple[Path, Path] | None = None
    source: str = ""
    target: str = ""
    """What `armillary run` takes: the slug, or the file's name."""

    @property
    def page(self) -> str:
        """Its page's path in the site, without suffix."""
        return f"papers/{self.slug}"

    @property
    def command(self) -> str:
        """The target as a shell takes it."""
        return shlex.quote(self.target)

    @property
    def latest(self) -> record.Record | None:
        """The newest entry of its record."""
        return self.history[-1] if self.history else None

    @property
    def runnable(self) -> bool:
        """Whether its study stands."""
        return bool(self.described)

    @property
    def verdict(self) -> str:
        """The recorded verdict; `unrecorded` for a study without one; `planned` without a study."""
        if self.latest:
            return str(self.latest["verdict"])
        return "unrecorded" if self.runnable else "planned"

    @property
    def verified(self) -> str:
        """The day of the newest record."""
        return self.latest["date"][:10] if self.latest else ""

    @cached_property
    def imports(self) -> list[Method]:
        """The methods that its study uses."""
        return methods.imported(self.source) if self.source else []

    @cached_property
    def methods(self) -> list[Method]:
        """The methods that it leaves behind: those whose docstrings name it, the study's own first."""
        mine = methods.citing(self.title)
        return [m for m in self.imports if m in mine] + [m for m in mine if m not in self.imports]

    @cached_property
    def testbed(self) -> set[str]:
        """The data and models that its study uses."""
        return {m.path for m in self.imports if m.package in _TESTBEDS}

    @property
    def example(self) -> str:
        """A short example of a method, or of the study itself."""
        own = methods.first_example(self.methods) or methods.first_example(self.imports)
        return own or (
            "import armillary\n\n"
            f"result = armillary.run({self.target!r})\n"
            "result.verdict, result.checks[0].interval\n"
            "result.data  # each arm's measurements, as an xarray.Dataset\n"
            "result.figure()"
        )

    @property
    def knob(self) -> tuple[str, str] | None:
        """A setting worth sweeping, with values: the first traced one that is not zero."""
        for name, value in self.described.get("settings", {}).items():
            quick = value["quick"]
            if isinstance(quick, float) and quick > 0 and name not in ("seed",):
                return name, ",".join(f"{quick * f:.3g}" for f in (0.5, 1, 2))
        return None


def papers(own: Iterable[str | Path] = ()) -> list[Paper]:
    """Every paper of the catalogue, then the studies of a user's own files.

    **Raises:** `InputError` for a file that is no study, or whose name cannot be a page's.
    """
    found = [_of_row(row) for row in catalogue.rows().values()]
    taken = {p.slug for p in found}
    for target in own:
        entry = catalogue.find(Path(target))
        if not _SLUG.fullmatch(entry.slug):
            raise InputError(
                f"{target}: a page needs a file name of letters, digits, - and _ (as in my_claim.py)"
            )
        if entry.slug in taken:
            raise InputError(f"{target}: there is a page {entry.slug!r} already; choose another file name")
        taken.add(entry.slug)
        found.append(_of_file(entry, str(target)))
    return found


def neighbours(paper: Paper, every: Sequence[Paper]) -> dict[str, list[Paper]]:
    """The papers beside this one: on the same testbed, in agreement, at odds, of the same subject."""
    others = [p for p in every if p.slug != paper.slug]
    agree = [p for p in others if p.slug in paper.agrees or paper.slug in p.agrees]
    contradict = [p for p in others if p.slug in paper.contradicts or paper.slug in p.contradicts]
    same = [p for p in others if paper.testbed & p.testbed]
    same.sort(key=lambda p: -len(paper.testbed & p.testbed))
    shelf = [p for p in others if p.subject == paper.subject]
    shelf.sort(key=lambda p: (-len(set(p.tags) & set(paper.tags)), not p.runnable))
    return {"agree": agree, "contradict": contradict, "testbed": same[:8], "subject": shelf[:8]}


def _of_row(row: Row) -> Paper:
    subject = catalogue.shelves()[row.subject]
    common = (
        row.slug,
        row.title,
        row.year,
        subject,
        row.claim,
        row.control,
        row.tags,
        row.agrees,
        row.contradicts,
    )
    if row.status == "planned":
        return Paper(*common, target=row.slug)
    return Paper(
        *common, **_study(row, row.slug), source=row.path.read_text(encoding="utf-8"), target=row.slug
    )


def _of_file(entry: Entry, target: str) -> Paper:
    study = entry.study
    assert entry.path is not None
    return Paper(
        entry.slug,
        entry.title,
        None,
        OWN,
        show.section(study, "claim") or "",
        show.section(study, "control") or "",
        **_study(entry, target),
        source=entry.path.read_text(encoding="utf-8"),
        target=target,
    )


def _study(which: Entry | Row, target: str) -> dict[str, Any]:
    history = record.history(which)
    return {
        "described": record.plain(show.describe(target)),
        "history": history,
        "stale": record.stale(which, history[-1] if history else None),
        "figure": record.figure(which),
    }
