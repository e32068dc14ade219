"""The catalogue as lines of text. Plain strings: a table of 226 rows costs rich longer than all else at start."""

import shutil
import sys
from collections.abc import Sequence
from typing import Any

import click

COLOURS = {"holds": "green", "fails": "red", "diverged": "red", "vacuous": "magenta", "undecided": "yellow"}


def lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """One line a paper, as wide as the terminal: titles are cut, nothing else is.

    In a pipe nothing is cut.
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    names = ("slug", "title", "year", "subject", "status", "verdict")
    cells = [[_cell(row, name) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells)]
    if width:
        widths[1] = max(20, width - sum(widths) + widths[1] - 2 * len(names))
    colours = [COLOURS.get(row["verdict"] or "") for row in rows]
    return [
        click.style(_line(names, widths), bold=True),
        *(_line(cell, widths, colour) for cell, colour in zip(cells, colours)),
    ]


def _cell(row: dict[str, Any], name: str) -> str:
    word = "" if row[name] is None else str(row[name])
    return f"{word} (stale)" if name == "verdict" and row["stale"] else word


def _line(cells: Sequence[str], widths: Sequence[int], colour: str | None = None) -> str:
    cut = [c if len(c) <= w else c[: w - 1] + "…" for c, w in zip(cells, widths)]
    padded = [c.ljust(w) for c, w in zip(cut[:-1], widths)]
    return "  ".join([*padded, click.style(cut[-1], fg=colour) if colour else cut[-1]]).rstrip()
