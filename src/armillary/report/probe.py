"""What a probe found, for the terminal and as a page."""

import math
from itertools import groupby
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from armillary.report.console import verdict

if TYPE_CHECKING:
    from armillary.probe.examine import Report
    from armillary.probe.rows import Row


def number(value: float | None, digits: int = 4) -> str:
    """A number for a table."""
    if value is None:
        return "–"
    return f"{value:.{digits}g}"


def with_error(value: float | None, error: float | None) -> str:
    """A value with its error, in as many digits as the error leaves meaning."""
    if value is None:
        return "none"
    if error is None or not math.isfinite(error) or error <= 0:
        return number(value)
    if value and error < 1e-5 * abs(value):
        return f"{value:.5g} ± {error:.0e}"
    size = math.floor(math.log10(max(abs(value), error)))
    last = math.floor(math.log10(error)) - 1  # two digits of the error
    if -4 <= size <= 5:
        places = max(0, -last)
        return f"{value:.{places}f} ± {error:.{places}f}" if last < 0 else f"{value:.0f} ± {error:.0f}"
    digits = max(1, size - last)
    return f"{value:.{digits}e} ± {error:.0e}"


def facts(report: "Report") -> list[str]:
    """What was measured, in a line or two."""
    known = report.facts
    if "log" in known:
        return [f"{known['log']}: {known['steps']} steps"]
    words = [
        f"{known['framework']}: {known['parameters']:,} parameters, loss {number(known['loss'])} on {known['examples']:,} "
        f"examples in {known['micro_batches']} micro-batch{'es' * (known['micro_batches'] > 1)}"
    ]
    training = [
        f"{name.replace('_', ' ')} {known[name]:g}"
        for name in ("learning_rate", "batch_size")
        if known[name] is not None
    ]
    if training:
        words.append("held against " + ", ".join(training))
    return words


def study(row: "Row") -> Text:
    """The study's name and its recorded verdict."""
    if row.study is None:
        return Text("")
    if row.verdict is None:
        return Text.assemble(row.study, (" (planned)", "dim"))
    return Text.assemble(row.study, ": ", verdict(row.verdict), " (stale)" if row.stale else "")


def against(row: "Row") -> str:
    """What a value is held against."""
    return (
        f"nothing ({row.against})" if row.reference is None else f"{number(row.reference, 3)} ({row.against})"
    )


def sentence(row: "Row") -> str:
    """What the row means, as a sentence."""
    return f"{row.meaning[:1].upper()}{row.meaning[1:]}."


def render(report: "Report") -> RenderableType:
    """The report for a terminal: a line for each number, and below it what it is held against and means."""
    parts: list[RenderableType] = [Text(line) for line in facts(report)]
    widths = [
        max((len(cell(row)) for row in report.rows), default=0)
        for cell in (lambda r: r.quantity, lambda r: with_error(r.value, r.error))
    ]
    for _, rows in groupby(report.rows, key=lambda r: r.measurement):
        parts.append(Text(""))
        for row in rows:
            value = with_error(row.value, row.error)
            head = Text.assemble(
                ("! " if row.notable else "  ", "bold yellow"),
                (row.quantity.ljust(widths[0]), "bold"),
                "  ",
                value.ljust(widths[1]),
                "  ",
                study(row),
            )
            body = Text.assemble((f"Against {against(row)}. ", "dim"), sentence(row))
            parts += [head, Padding(body, (0, 0, 0, 4))]
    parts.append(Text(""))
    if any(row.notable for row in report.rows):
        parts.append(Text("! past the point where the papers found trouble", style="dim"))
    if any(row.error is None and row.value is not None for row in report.rows):
        parts.append(Text("without ±: exact on the data given", style="dim"))
    parts += [Text(line) for line in remarks(report)]
    return Group(*parts)


def remarks(report: "Report") -> list[str]:
    """What was not measured and why, and the time."""
    lines = [
        f"left out, {one['seconds']:.0f} s: {one['measurement']} ({one['what']})" for one in report.left_out
    ]
    lines += [f"not measured: {one['measurement']} lacks {one['lacks']}" for one in report.lacking]
    lines += [f"failed: {one['measurement']}: {one['error']}" for one in report.failed]
    if report.left_out:
        lines.append(
            f"a budget of {math.ceil(report.seconds + sum(o['seconds'] for o in report.left_out))} s would hold all"
        )
    return [*lines, f"time: {report.seconds:.1f} s"]
