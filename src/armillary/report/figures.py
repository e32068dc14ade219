"""Figures of any study: checks against their bounds, measurements over swept settings."""

import io
import math
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from armillary.lab.errors import InputError
from armillary.report.console import scalars

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from armillary.result import Result

PLACES: "tuple[Literal['upper right', 'upper left', 'lower right', 'lower left', 'center right', 'center left'], ...]"
PLACES = ("upper right", "upper left", "lower right", "lower left", "center right", "center left")
"""Where a legend may stand inside its axes, the best first."""


def house() -> AbstractContextManager[None]:
    """The house style, for as long as the context lasts."""
    import matplotlib.pyplot as plt

    return plt.style.context(Path(__file__).with_name("house.mplstyle"))


def of_result(result: "Result") -> "Figure":
    """The study's own figure in the house style; without one, its checks' intervals against their bounds."""
    with house():
        if result.entry.study.figure is None:
            return checks(result)
        figure = result.entry.study.figure(result.data)
        figure.canvas.draw()  # lays the panels out
        for ax in figure.axes:
            _thin(ax)
            _uncover(ax)
        return figure


def save(figure: "Figure", *paths: Path) -> Path:
    """Write a figure, whole, as PNG or SVG by each path's suffix, and close it; the first path.

    **Raises:** `InputError` if the folder cannot be written.
    """
    import matplotlib.pyplot as plt

    from armillary.lab.store import write_whole

    for path in paths:
        write_whole(path, svg(figure) if path.suffix == ".svg" else _png(figure))
    plt.close(figure)
    return paths[0]


def keep(result: "Result") -> Path:
    """Write a result's figure beside its study's record: SVG for pages, and a PNG thumbnail.

    **Raises:** `InputError` if the folder cannot be written.
    """
    import matplotlib.pyplot as plt

    from armillary.lab import record
    from armillary.lab.store import write_whole

    vector, small = record.figure_paths(result.entry)
    figure = of_result(result)
    write_whole(vector, svg(figure))
    write_whole(small, thumbnail(figure))
    plt.close(figure)
    return vector


def svg(figure: "Figure") -> bytes:
    """A figure as SVG: the same bytes for the same figure, coordinates to a hundredth of a point."""
    buffer = io.BytesIO()
    with house():
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    text = buffer.getvalue().decode()
    text = re.sub(r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    round_ = lambda attribute: re.sub(r"-?\d+\.\d{3,}", lambda n: f"{float(n[0]):.2f}", attribute[0])
    text = re.sub(r' (?:d|x|y|points)="[^"]*"', round_, text)
    return re.sub(r"\n\s*", "\n", text).encode()


def thumbnail(figure: "Figure") -> bytes:
    """A figure's main panel alone, laid out again to be legible as a small PNG. The figure is changed.

    The main panel is the one that the study marks with `ax.set_gid("thumbnail")`, else the largest.
    """
    from matplotlib.gridspec import GridSpec
    from PIL import Image

    if (panel := _main_panel(figure)) is not None:
        place = panel.get_position().bounds
        for ax in figure.axes:
            if ax is not panel and ax.get_position().bounds != place:  # a twin shares the panel's place
                ax.remove()
        for extra in [*figure.legends, *figure.texts]:
            extra.remove()
        figure.set_layout_engine("constrained")
        for ax in figure.axes:
            ax.set_subplotspec(GridSpec(1, 1, figure=figure)[0])
    figure.set_size_inches(4.0, 2.5)
    for ax in figure.axes:
        for title in (ax.title, ax._left_title, ax._right_title):  # type: ignore[attr-defined]
            title.set_text(_alone(title.get_text()))
        if (old := ax.get_legend()) is not None:  # in one column inside the panel, wherever the figure had it
            words, over = [t.get_text() for t in old.get_texts()], old.get_title().get_text()
            with house():
                new = ax.legend(
                    [h for h in old.legend_handles if h is not None], words, title=over, loc="upper right"
                )
            new.set_frame_on(old.get_frame_on())
            new.set_in_layout(False)
    _fit_words(figure)
    for ax in figure.axes:
        _thin(ax)
        _shrink_legend(ax)
        _uncover(ax)
    buffer = io.BytesIO()
    with house():
        figure.savefig(buffer, format="png", dpi=140)
    image = Image.open(buffer).convert("RGB").quantize(64, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    small = io.BytesIO()
    image.save(small, "PNG", optimize=True)
    return small.getvalue()


def _alone(title: str) -> str:
    """A title without the dots and commas that lead to its neighbours'."""
    found = re.sub(r"^…\s*|(\s*…|,)$", "", title)
    return found[:1].upper() + found[1:] if title.startswith("…") else found


def _thin(ax: "Axes") -> None:
    """Fewer ticks below an axes whose numbers run into each other."""
    from matplotlib.ticker import MaxNLocator

    locator = ax.xaxis.get_major_locator()
    if not isinstance(locator, MaxNLocator):
        return
    for bins in (6, 5, 4, 3):
        low, high = sorted(ax.get_xlim())
        labels = [
            tick.label1.get_window_extent()
            for tick in ax.xaxis.get_major_ticks()
            if low <= tick.get_loc() <= high and tick.label1.get_text()
        ]
        if not any(a.padded(2).overlaps(b) for a, b in pairwise(labels)):
            return
        locator.set_params(nbins=bins)
        ax.xaxis.get_tightbbox()  # places the ticks again


def _shrink_legend(ax: "Axes") -> None:
    """Make a legend's words small enough for its axes."""
    if (legend := ax.get_legend()) is None:
        return
    words = [*legend.get_texts(), legend.get_title()]
    for size in (9.0, 7.5, 6.5):
        for text in words:
            text.set_fontsize(min(size, float(text.get_fontsize())))
        box, room = legend.get_window_extent(), ax.get_window_extent()
        if box.width < 0.9 * room.width and box.height < 0.4 * room.height:
            return


def _uncover(ax: "Axes") -> None:
    """Put a legend that hides data where it does not; where there is no such place, make one above the data."""
    legend = ax.get_legend()
    if legend is None or not _covers(legend.get_window_extent(), ax):
        return
    if not ax.get_window_extent().overlaps(legend.get_window_extent()):
        return  # beside the axes, on purpose
    low, high = ax.get_ylim()
    ticks = [t for t in ax.get_yticks() if min(low, high) <= t <= max(low, high)]
    fixed = ax.yaxis.get_major_formatter(), ax.yaxis.get_major_locator()
    scale = ax.yaxis.get_transform()
    bottom, top = scale.transform([low, high])
    legend.set_bbox_to_anchor(None)
    for more in (0.0, 0.15, 0.3, 0.45, 0.6, 0.8, 1.0):
        if more:
            ax.set_ylim(low, float(scale.inverted().transform([top + more * (top - bottom)])[0]))
            ax.set_yticks(ticks)
        for place in PLACES:
            legend.set_loc(place)
            if not _covers(legend.get_window_extent(), ax):
                return
    ax.set_ylim(low, high)
    ax.yaxis.set_major_formatter(fixed[0])
    ax.yaxis.set_major_locator(fixed[1])
    legend.set_loc("best")


def _covers(box: Any, ax: "Axes") -> bool:
    """Whether a box in pixels hides a line, a band or words of an axes."""
    import numpy as np
    from matplotlib.transforms import IdentityTransform

    inside = ax.get_window_extent()
    box = box.padded(-1)
    if not (inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1):
        return True
    for line in ax.lines:
        if line.get_transform() == ax.get_xaxis_transform():
            continue  # a line from bottom to top stands beside any legend that is wide
        path = line.get_transform().transform_path(line.get_path())
        dots = line.get_linestyle() in ("None", "none", "", " ")
        if dots and _any_inside(box, path.vertices):
            return True
        if not dots and len(np.asarray(path.vertices)) and path.intersects_bbox(box, filled=False):
            return True
    for found in ax.collections:
        offsets = found.get_offset_transform().transform(found.get_offsets())
        if not isinstance(found.get_offset_transform(), IdentityTransform):
            if _any_inside(box, offsets):
                return True
        elif any(found.get_transform().transform_path(p).intersects_bbox(box) for p in found.get_paths()):
            return True
    return any(box.overlaps(words.get_window_extent()) for words in ax.texts if words.get_text())


def _any_inside(box: Any, points: Any) -> bool:
    return any(box.contains(x, y) for x, y in points)


def _fit_words(figure: "Figure") -> None:
    """Shrink titles and labels that are longer than the figure."""
    for _ in range(4):  # shorter words move the panel, and with it the words
        figure.canvas.draw()
        for ax in figure.axes:
            titles = (ax.title, ax._left_title, ax._right_title)  # type: ignore[attr-defined]
            for words, upright in ((ax.yaxis.label, True), *((t, False) for t in (ax.xaxis.label, *titles))):
                box = words.get_window_extent()
                low, high = (box.y0, box.y1) if upright else (box.x0, box.x1)
                room = figure.bbox.height if upright else figure.bbox.width
                if (
                    high - low > 1.2 * room
                    and " " in (text := words.get_text())
                    and not set("$\n") & set(text)
                ):
                    words.set_text(_two_lines(text))
                elif high > low and (low < 0 or high > room):
                    anchor = low if words.get_horizontalalignment() == "left" else (low + high) / 2
                    ends = [(high - anchor) / max(room - anchor, 1), (anchor - low) / max(anchor, 1)]
                    words.set_fontsize(float(words.get_fontsize()) * 0.97 / max(ends))


def _two_lines(text: str) -> str:
    """A text broken at the space nearest to its middle."""
    at = min((i for i, c in enumerate(text) if c == " "), key=lambda i: abs(i - len(text) / 2))
    return f"{text[:at]}\n{text[at + 1 :]}"


def _main_panel(figure: "Figure") -> "Axes | None":
    figure.canvas.draw()  # lays the panels out
    panels = [ax for ax in figure.axes if ax.get_visible() and ax.axison] or figure.axes
    if marked := [ax for ax in panels if ax.get_gid() == "thumbnail"]:
        return marked[0]
    area = lambda ax: ax.get_position().width * ax.get_position().height
    top = max(map(area, panels), default=0.0)
    return next((ax for ax in panels if area(ax) > 0.97 * top), None)


def _png(figure: "Figure") -> bytes:
    buffer = io.BytesIO()
    with house():
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def checks(result: "Result") -> "Figure":
    """One panel a check: the claim's interval and its controls' against the shaded bound."""
    import matplotlib.pyplot as plt

    count = max(1, len(result.checks))
    figure, axes = plt.subplots(count, 1, figsize=(7, 0.6 + 1.3 * count), layout="constrained", squeeze=False)
    for ax, check in zip(axes[:, 0], result.checks):
        rows = [("claim", check.interval), *((c.substitution, c.interval) for c in check.controls)]
        for y, (name, found) in enumerate(rows):
            if found.finite:
                ax.plot(
                    [found.low, found.high], [y, y], lw=6, solid_capstyle="butt", color="C3" if y else "C0"
                )
                ax.plot((found.low + found.high) / 2, y, "o", color="C3" if y else "C0")
            else:
                ax.text(
                    0.5,
                    y,
                    f"{_literal(name)}: not finite",
                    transform=ax.get_yaxis_transform(),
                    ha="center",
                    va="center",
                )
        for end in (check.bound.low, check.bound.high):
            if math.isfinite(end):
                ax.axvline(end, color="0.6", lw=1)
        ax.margins(x=0.1)
        low, high = ax.get_xlim()
        inside = (max(low, check.bound.low), min(high, check.bound.high))
        if inside[0] < inside[1]:
            ax.axvspan(*inside, color="0.9", zorder=0)
        ax.set_xlim(low, high)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_yticks(range(len(rows)), [_literal(name) for name, _ in rows])
        ax.set_title(f"{_literal(check.sentence)} ({check.bound}): {check.verdict}", fontsize=9, loc="left")
    return figure


def sweep(data: "xr.Dataset", axes: Sequence[str]) -> "Figure":
    """Every scalar measurement against one swept setting (bands over seeds), or a heat map for two.

    **Raises:** `InputError` if there is nothing to draw: no scalar measurement, or more than two settings.
    """
    names = scalars(data, axes)
    if not names:
        raise InputError("no figure: the study has no measurement that is one number a run")
    with house():
        if len(axes) == 1:
            return _lines(data, names, axes[0])
        if len(axes) == 2:
            return _maps(data, names, axes[0], axes[1])
    raise InputError(f"no figure of {len(axes)} swept settings; sweep one or two to see one")


def _arms(data: "xr.Dataset") -> list[tuple[str, "xr.Dataset"]]:
    return [(str(a), data.sel(arm=a)) for a in data.arm.values] if "arm" in data.dims else [("", data)]


def _lines(data: "xr.Dataset", names: list[str], axis: str) -> "Figure":
    import matplotlib.pyplot as plt

    columns = min(3, len(names))
    rows = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(
        rows, columns, figsize=(4.2 * columns, 3.1 * rows), layout="constrained", squeeze=False
    )
    at, labels, log = _scale(data[axis].values)
    for ax, name in zip(grid.flat, names):
        for i, (arm, one) in enumerate(_arms(data)):
            values = one[name].astype(float)  # a truth value is 0 or 1
            if axis not in values.dims:
                continue
            low, high = values.quantile([0.1, 0.9], "seed").values
            ax.fill_between(at, low, high, alpha=0.2, color=f"C{i}", lw=0)
            ax.plot(at, values.mean("seed"), "o-", ms=3, color=f"C{i}", label=_literal(arm) or None)
        _axis(ax, axis, at, labels, log)
        spread = abs(data[name].mean("seed").values)
        if spread.min() > 0 and data[name].min() > 0 and spread.max() / spread.min() > 50:
            ax.set_yscale("log")
        ax.set_ylabel(_words(name))
    for ax in list(grid.flat)[len(names) :]:
        ax.set_axis_off()
    if "arm" in data.dims:
        handles, words = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        f"{_literal(data.attrs.get('study', ''))}: mean and 10–90% band over {data.sizes['seed']} seeds",
        fontsize=10,
    )
    return figure


def _maps(data: "xr.Dataset", names: list[str], x: str, y: str) -> "Figure":
    import matplotlib.pyplot as plt

    fixed = data.attrs.get("fixed", {})  # an arm that sets a swept setting itself has no map
    arms = [(a, d) for a, d in _arms(data) if not {x, y} & set(fixed.get(a, ()))]
    figure, grid = plt.subplots(
        len(names),
        len(arms),
        figsize=(3.6 * len(arms) + 0.8, 3.0 * len(names)),
        layout="constrained",
        squeeze=False,
    )
    for row, name in zip(grid, names):
        for ax, (arm, one) in zip(row, arms):
            values = one[name].mean("seed").transpose(y, x).values
            wide = values.min() > 0 and values.max() > 50 * values.min()
            norm = "log" if wide else None
            image = ax.imshow(values, origin="lower", aspect="auto", cmap="viridis", norm=norm)
            figure.colorbar(image, ax=ax)
            for setter, axis in ((ax.set_xticks, x), (ax.set_yticks, y)):
                found = one[axis].values
                every = math.ceil(len(found) / 5)
                setter(range(0, len(found), every), [_word(v) for v in found[::every]])
            ax.set_xlabel(_words(x))
            ax.set_ylabel(_words(y))
            ax.set_title(_words(name) + (f" · {_literal(arm)}" if arm else ""), fontsize=9)
    figure.suptitle(
        f"{_literal(data.attrs.get('study', ''))}: mean over {data.sizes['seed']} seeds", fontsize=10
    )
    return figure


def _scale(values: Any) -> tuple[Any, list[str] | None, bool]:
    """Positions, tick labels for words, and whether a log axis fits."""
    if values.dtype.kind not in "iuf":
        return range(len(values)), [_word(v) for v in values], False
    positive = values.min() > 0
    return values, None, bool(positive and len(values) > 2 and values.max() / values.min() >= 20)


def _axis(ax: "Axes", name: str, at: Any, labels: list[str] | None, log: bool) -> None:
    if labels is not None:
        ax.set_xticks(list(at), labels)
    if log:
        ax.set_xscale("log")
    ax.set_xlabel(_words(name))


def _word(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else _literal(str(value))


def _words(name: str) -> str:
    return _literal(name.replace("_", " "))


def _literal(text: str) -> str:
    """A text in which a dollar is a dollar, not the start of a formula."""
    return text.replace("$", r"\$")
