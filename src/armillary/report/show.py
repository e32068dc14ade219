"""One paper: what it claims, how that is tested, what came out."""

import inspect
import re
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from armillary.lab import catalogue, record, settings
from armillary.report.console import table, verdict


def describe(target: str) -> dict[str, Any]:
    """Everything that `armillary show` says, as one JSON object.

    **Raises:** `InputError` if there is no such paper or file.
    """
    paper = None if catalogue.is_path(target) else catalogue.row(target)
    found: dict[str, Any] = {}
    if paper is not None:
        names = ("slug", "title", "year", "subject", "status", "claim", "control", "tags")
        found = {name: getattr(paper, name) for name in names} | {"scope": None, "source": None}
        if paper.status == "planned":
            return found | {"settings": {}, "checks": [], "requires": [], "verdict": None, "stale": None}
    entry = catalogue.find(target)
    study = entry.study
    quick, full = (settings.resolve(study, scale) for scale in settings.SCALES)
    past = record.latest(entry)
    if paper is None:
        found = {"slug": entry.slug, "title": entry.title, "status": "runnable"}
        found |= {name: section(study, name) for name in ("claim", "control")}
    return found | {
        "scope": section(study, "scope"),
        "departures": section(study, "departures"),
        "settings": {name: {"quick": quick[name], "full": full[name]} for name in quick},
        "arms": list(study.arms),
        "checks": [_check(c) for c in study.checks],
        "requires": [_check(c) for c in study.requires],
        "verdict": past and past["verdict"],
        "recorded": past and past["date"],
        "versions": past and past["versions"],
        "stale": record.stale(entry, past),
        "source": str(entry.path) if entry.path else None,
    }


def section(study: Any, name: str) -> str | None:
    """A paragraph of a study's docstring: `Claim:`, `Control:`, `Scope:` or `Departures:`."""
    doc = inspect.getdoc(inspect.getmodule(study.experiment)) or ""
    match = re.search(rf"^{name}:\s*(.*?)(?=^[A-Z][a-z]+:|\Z)", doc, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    return " ".join(match[1].split()) if match else None


def _check(check: Any) -> dict[str, Any]:
    return {
        "id": check.id,
        "sentence": check.sentence,
        "bound": [check.bound.low, check.bound.high],
        "bound_words": str(check.bound),
        "basis": check.basis,
        "because": check.because,
    }


def render(found: dict[str, Any]) -> RenderableType:
    """The same for a terminal."""
    head = Text(found["title"], style="bold")
    facts = [str(found[k]) for k in ("slug", "year", "subject", "status") if found.get(k)]
    parts: list[RenderableType] = [head, Text(" · ".join(facts), style="dim")]
    for name in ("claim", "control", "scope", "departures"):
        if found.get(name):
            parts.append(Text.assemble("\n", (f"{name.capitalize()}: ", "bold"), found[name]))
    if found["settings"]:
        parts += [Text(""), _settings(found["settings"])]
        parts.append(Text(f"arms: {', '.join(found['arms'])}"))
    if found["checks"]:
        made = table("check", "what must hold", "bound", "basis", "because")
        for check in [*found["checks"], *found["requires"]]:
            made.add_row(
                check["id"], check["sentence"], check["bound_words"], check["basis"], check["because"]
            )
        parts += [Text(""), made]
    if found["verdict"]:
        stale = " (stale: its code has changed since)" if found["stale"] else ""
        parts.append(
            Text.assemble("last verdict: ", verdict(found["verdict"]), f", {found['recorded'][:10]}{stale}")
        )
    elif found["status"] == "planned":
        parts.append(Text("\nplanned: no study yet"))
    if found["source"]:
        parts.append(Text(f"source: {found['source']}", overflow="fold"))
    return Group(*parts)


def _settings(found: dict[str, Any]) -> RenderableType:
    made = table("setting", "quick", "full")
    for name, value in found.items():
        made.add_row(name, str(value["quick"]), str(value["full"]) if value["full"] != value["quick"] else "")
    return made
