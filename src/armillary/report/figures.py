"""Figures of any study: checks against their bounds, measurements over swept settings."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab.errors import InputError
from armillary.report.console import scalars

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from armillary.result import Result


def of_result(result: "Result") -> "Figure":
    """The study's own figure; without one, its checks' intervals against their bounds."""
    if result.entry.study.figure is not None:
        return result.entry.study.figure(result.data)
    return checks(result)


def save(figure: "Figure", path: Path) -> Path:
    """Write a figure as PNG, whole, and close it.

    **Raises:** `InputError` if the folder cannot be written.
    """
    import io

    import matplotlib.pyplot as plt

    from armillary.lab.store import write_whole

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=150)
    plt.close(figure)
    write_whole(path, buffer.getvalue())
    return path


def checks(result: "Result") -> "Figure":
    """One panel a check: the claim's interval and its controls' against the shaded bound."""
    import matplotlib.pyplot as plt

    count = max(1, len(result.checks))
    figure, axes = plt.subplots(count, 1, figsize=(7, 0.6 + 1.3 * count), layout="constrained", squeeze=False)
    for ax, check in zip(axes[:, 0], result.checks):
        rows = [("claim", check.interval), *((c.substitution, c.interval) for c in check.controls)]
        for y, (name, found) in enumerate(rows):
            if found.finite:
                ax.plot([found.low, found.high], [y, y], lw=6, solid_capstyle="butt", color=f"C{min(y, 1)}")
                ax.plot((found.low + found.high) / 2, y, "o", color=f"C{min(y, 1)}")
            else:
                ax.text(
                    0.5,
                    y,
                    f"{name}: not finite",
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
        ax.set_yticks(range(len(rows)), [name for name, _ in rows])
        ax.set_title(f"{check.sentence} ({check.bound}): {check.verdict}", fontsize=9, loc="left")
    return figure


def sweep(data: "xr.Dataset", axes: Sequence[str]) -> "Figure":
    """Every scalar measurement against one swept setting (bands over seeds), or a heat map for two.

    **Raises:** `InputError` if there is nothing to draw: no scalar measurement, or more than two settings.
    """
    names = scalars(data, axes)
    if not names:
        raise InputError("no figure: the study has no measurement that is one number a run")
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
            values = one[name]
            if axis not in values.dims:
                continue
            low, high = values.quantile([0.1, 0.9], "seed").values
            ax.fill_between(at, low, high, alpha=0.2, color=f"C{i}", lw=0)
            ax.plot(at, values.mean("seed"), "o-", ms=3, color=f"C{i}", label=arm or None)
        _axis(ax, axis, at, labels, log)
        spread = abs(data[name].mean("seed").values)
        if spread.min() > 0 and data[name].min() > 0 and spread.max() / spread.min() > 50:
            ax.set_yscale("log")
        ax.set_ylabel(name.replace("_", " "))
    for ax in list(grid.flat)[len(names) :]:
        ax.set_axis_off()
    if "arm" in data.dims:
        handles, words = grid.flat[0].get_legend_handles_labels()
        figure.legend(handles, words, loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(
        f"{data.attrs.get('study', '')}: mean and 10–90% band over {data.sizes['seed']} seeds", fontsize=10
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
            ax.set_xlabel(x)
            ax.set_ylabel(y)
            ax.set_title(f"{name.replace('_', ' ')}" + (f" · {arm}" if arm else ""), fontsize=9)
    figure.suptitle(f"{data.attrs.get('study', '')}: mean over {data.sizes['seed']} seeds", fontsize=10)
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
    ax.set_xlabel(name.replace("_", " "))


def _word(value: Any) -> str:
    return f"{value:.2g}" if isinstance(value, float) else str(value)
