"""New and changed verdicts, newest first: as lines for the terminal and as an Atom feed."""

import datetime
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from armillary.lab import catalogue, record
from armillary.lab.errors import InputError

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Characters that XML cannot hold."""
ATOM = "http://www.w3.org/2005/Atom"


@dataclass(frozen=True)
class Event:
    """A verdict that the record did not have before, or that differs from the one before."""

    date: str
    slug: str
    title: str
    verdict: str
    before: str | None = None

    @property
    def words(self) -> str:
        """What happened: `holds` for a first verdict, `undecided → holds` for a changed one."""
        return f"{self.before} → {self.verdict}" if self.before else self.verdict


def of_history(slug: str, title: str, history: Sequence[record.Record]) -> list[Event]:
    """The events of one study's record, oldest first. Recording the same verdict again is none."""
    found: list[Event] = []
    for entry in history:
        before = found[-1].verdict if found else None
        if entry["verdict"] != before:
            found.append(Event(entry["date"], slug, title, entry["verdict"], before))
    return found


def newest_first(events: Iterable[Event], since: datetime.date | None = None) -> list[Event]:
    """Events from that day (UTC) on, newest first."""
    start = since.isoformat() if since else ""
    return sorted((e for e in events if e.date >= start), key=lambda e: (e.date, e.slug), reverse=True)


def of_catalogue(since: datetime.date | None = None) -> list[Event]:
    """The events of the catalogue's record, newest first."""
    rows = [row for row in catalogue.rows().values() if row.status == "runnable"]
    return newest_first((e for r in rows for e in of_history(r.slug, r.title, record.history(r))), since)


def day(text: str) -> datetime.date:
    """A date as `2026-11-24`.

    **Raises:** `InputError` for anything else.
    """
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise InputError(f"--since {text!r}: expected a date as in 2026-11-24") from None


def lines(events: Sequence[Event]) -> list[str]:
    """One line an event: day, verdict, slug, title."""
    widths = [
        max((len(w) for w in column), default=0)
        for column in ([e.words for e in events], [e.slug for e in events])
    ]
    return [f"{e.date[:10]}  {e.words:{widths[0]}}  {e.slug:{widths[1]}}  {e.title}" for e in events]


def atom(events: Sequence[Event], *, url: str = "", limit: int = 100) -> bytes:
    """The newest events as an Atom feed; links are below `url`, or relative to the feed without one."""
    ElementTree.register_namespace("", ATOM)
    feed = ElementTree.Element(f"{{{ATOM}}}feed")

    def add(parent: ElementTree.Element, name: str, text: str = "", **attributes: str) -> ElementTree.Element:
        made = ElementTree.SubElement(parent, f"{{{ATOM}}}{name}", attributes)
        made.text = _CONTROL.sub("", text) or None
        return made

    add(feed, "title", "armillary: new and changed verdicts")
    add(feed, "id", "tag:armillary,2026:verdicts")
    add(feed, "updated", events[0].date if events else "2026-01-01T00:00:00+00:00")
    add(feed, "link", rel="self", href=f"{url}feed.xml")
    add(feed, "link", rel="alternate", href=f"{url}index.html")
    add(add(feed, "author"), "name", "The armillary record")
    for event in events[:limit]:
        entry = add(feed, "entry")
        add(entry, "title", f"{event.words}: {event.title}")
        add(entry, "id", f"tag:armillary,2026:{event.slug}/{event.date}")
        add(entry, "updated", event.date)
        add(entry, "link", rel="alternate", href=f"{url}papers/{event.slug}.html")
        add(entry, "summary", f"armillary run {event.slug}: {event.words}")
    return ElementTree.tostring(feed, encoding="utf-8", xml_declaration=True)
