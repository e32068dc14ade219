"""The probe's report as one HTML file that needs nothing else."""

import base64
import io
from collections.abc import Callable
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from armillary.report import probe

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from armillary.probe.examine import Report
    from armillary.probe.rows import Row

FAMILIES = {
    "curvature": ("Curvature", ("sharpness", "spectrum")),
    "noise": ("Noise", ("noise",)),
    "representation": ("Representation", ("collapse", "rank")),
    "regime": ("Lazy or rich", ("moved", "kernel")),
    "health": ("Health", ("attention", "drift", "units", "norms")),
    "pair": ("Two models", ("barrier", "similarity")),
    "fragility": ("Fragility", ("pruning", "rounding", "layers", "inputs")),
    "rates": ("Learning rates", ("rates",)),
    "series": ("Logged series", ("series",)),
}
BLUE, ORANGE, GREEN, RED, QUIET = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"
STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.fonttype": "path",
    "svg.hashsalt": "armillary",
}


def page(report: "Report") -> str:
    """The whole page; texts are escaped, figures are inside it."""
    from jinja2 import Environment

    template = Environment(autoescape=True, trim_blocks=True).from_string(
        files("armillary.report").joinpath("templates", "probe.html").read_text(encoding="utf-8")
    )
    families = []
    for name, (title, measurements) in FAMILIES.items():
        rows = [row for row in report.rows if row.measurement in measurements]
        if rows:
            families.append(
                {"id": name, "title": title, "rows": [_row(r) for r in rows], "figures": figures(name, rows)}
            )
    *lines, time = probe.remarks(report)
    return template.render(
        facts=probe.facts(report),
        families=families,
        notable=[_row(row) for row in report.rows if row.notable],
        remarks=lines + report.notes,
        time=time,
    )


def _row(row: "Row") -> dict[str, Any]:
    return {
        "quantity": row.quantity,
        "value": probe.with_error(row.value, row.error),
        "error_kind": _kind(row),
        "meaning": probe.sentence(row),
        "against": probe.against(row),
        "source": row.source,
        "study": row.study,
        "verdict": row.verdict,
        "stale": row.stale,
        "notable": row.notable,
    }


def _kind(row: "Row") -> str:
    if row.value is None:
        return ""
    if row.error is None:
        return "exact on these data"
    return "" if row.error_kind == "standard error" else f"({row.error_kind})"


def figures(family: str, rows: "list[Row]") -> list[dict[str, str]]:
    """The figures of a family: those whose rows carry what they show."""
    drawn = []
    for wanted, draw, caption in FIGURES.get(family, ()):
        # A single bar shows nothing that the row does not say.
        chosen = [
            r
            for r in rows
            if wanted in r.detail and not (isinstance(r.detail[wanted], dict) and len(r.detail[wanted]) < 2)
        ]
        if chosen:
            drawn.append({"data": _svg(draw, chosen), "caption": caption})
    return drawn


def _svg(draw: "Callable[[Axes, list[Row]], None]", rows: "list[Row]") -> str:
    import matplotlib.pyplot as plt

    buffer = io.BytesIO()
    with plt.rc_context(STYLE):  # type: ignore[arg-type]
        figure, ax = plt.subplots(figsize=(5.6, 3.5), layout="constrained")
        draw(ax, rows)
        figure.savefig(buffer, format="svg", metadata={"Date": None})
        plt.close(figure)
    return base64.b64encode(buffer.getvalue()).decode()


def _density(ax: "Axes", rows: "list[Row]") -> None:
    import numpy as np

    row = rows[-1]
    nodes, weights = np.asarray(row.detail["nodes"]), np.asarray(row.detail["weights"])
    top = float(np.abs(nodes).max()) or 1.0
    low, high = nodes.min() - 0.05 * top, nodes.max() + 0.05 * top
    grid, width = np.linspace(low, high, 600), 0.01 * (high - low)
    density = (np.exp(-((grid[:, None] - nodes) ** 2) / (2 * width**2)) @ weights) / (
        width * (2 * np.pi) ** 0.5
    )
    ax.fill_between(grid, density, 1e-9, color=BLUE, alpha=0.25, lw=0)
    ax.plot(grid, density, color=BLUE, lw=1.5)
    ax.axvline(row.detail["cut"], color="k", lw=0.8, ls="--")
    ax.text(
        row.detail["cut"], 0.97, " outliers above", transform=ax.get_xaxis_transform(), va="top", fontsize=8
    )
    positive = density[density > 0]
    floor = max(float(positive.min()) if len(positive) else 1e-9, float(density.max()) * 1e-7)
    ax.set(
        yscale="log",
        ylim=(floor, None),
        xlabel="eigenvalue",
        ylabel="density",
        title="The Hessian's spectrum",
    )


def _eigenvalues(ax: "Axes", rows: "list[Row]") -> None:
    row = rows[0]
    values, residuals = row.detail["eigenvalues"], row.detail["residuals"]
    places = range(1, len(values) + 1)
    ax.errorbar(places, values, yerr=residuals, fmt="o", color=BLUE, capsize=3)
    if row.reference is not None:
        ax.axhline(row.reference, color="k", lw=1, ls="--")
        ax.text(
            0.99,
            row.reference,
            "2/η ",
            transform=ax.get_yaxis_transform(),
            ha="right",
            va="bottom",
            fontsize=9,
        )
    ax.set(xlabel="place", ylabel="eigenvalue", title="Largest eigenvalues", xticks=list(places))
    ax.set_ylim(0, 1.15 * max(max(values), row.reference or 0))


def _slopes(ax: "Axes", rows: "list[Row]") -> None:
    import numpy as np

    row = rows[0]
    slopes = np.asarray(row.detail["slopes"])
    edge = float(np.abs(slopes).max()) or 1.0
    ax.hist(slopes, bins=list(np.linspace(-edge, edge, 61)), color=QUIET, alpha=0.6)
    for name, colour, word in (("up", RED, "worse"), ("down", BLUE, "better")):
        chosen = slopes[np.asarray(row.detail[name], int)]
        ax.plot(
            chosen,
            np.full(len(chosen), 0.6),
            "|",
            ms=16,
            mew=1.5,
            color=colour,
            label=f"gets {word} along it",
        )
    ax.set(yscale="log", xlabel="slope of an example's loss along the steepest direction", ylabel="examples")
    ax.set_title("Opposing signals")
    ax.legend()


def _singular(ax: "Axes", rows: "list[Row]") -> None:
    values = rows[0].detail["singular_values"]
    ax.semilogy(range(1, len(values) + 1), values / values[0], ".-", color=BLUE)
    if rows[0].value:
        ax.axvline(rows[0].value, color="k", lw=0.8, ls="--")
        ax.text(
            rows[0].value, 0.97, " effective rank", transform=ax.get_xaxis_transform(), va="top", fontsize=8
        )
    ax.set(
        xlabel="place",
        ylabel="singular value over the first",
        title="Dimensions of the features",
        ylim=(1e-5, 1.5),
    )


def _bars(title: str, label: str, detail: str, line: bool = False) -> "Callable[[Axes, list[Row]], None]":
    def draw(ax: "Axes", rows: "list[Row]") -> None:
        layers = rows[0].detail[detail]
        names = list(layers)[:24]
        ax.barh(range(len(names)), [layers[n] for n in names], color=BLUE)
        ax.set_yticks(range(len(names)), [n if len(n) <= 30 else "…" + n[-29:] for n in names], fontsize=8)
        ax.invert_yaxis()
        ax.set(xlabel=label)
        ax.set_title(title)
        if line and rows[0].reference is not None:
            ax.axvline(rows[0].reference, color="k", lw=0.8, ls="--")

    return draw


def _barrier(ax: "Axes", rows: "list[Row]") -> None:
    import numpy as np

    for row, colour, label in zip(rows, (RED, BLUE), ("straight line", "after matching units")):
        losses = row.detail["losses"]
        ax.plot(np.linspace(0, 1, len(losses)), losses, "o-", ms=3, color=colour, label=label)
    ax.set(xlabel="position between the models", ylabel="loss", title="Between two models", ylim=(0, None))
    ax.legend()


def _pruning(ax: "Axes", rows: "list[Row]") -> None:
    places = [0.0, *(row.detail["sparsity"] for row in rows)]
    errors = [0.0, *(row.error or 0.0 for row in rows)]
    ax.errorbar(
        places,
        [rows[0].reference or 0.0, *(row.value or 0.0 for row in rows)],
        yerr=errors,
        fmt="o-",
        color=BLUE,
        capsize=3,
    )
    ax.axhline(rows[0].reference or 0, color="k", lw=0.8, ls="--")
    ax.set(xlabel="share of weights removed", ylabel="loss", title="Pruning", ylim=(0, None))


def _rounding(ax: "Axes", rows: "list[Row]") -> None:
    places = range(len(rows))
    ax.errorbar(
        places,
        [row.value or 0 for row in rows],
        yerr=[row.error or 0 for row in rows],
        fmt="o-",
        color=BLUE,
        capsize=3,
    )
    ax.axhline(rows[0].reference or 0, color="k", lw=0.8, ls="--")
    ax.set_xticks(list(places), [f"{row.detail['bits']} bits" for row in rows])
    ax.set(ylabel="loss", title="Rounding every layer", ylim=(0, None))


def _rates(ax: "Axes", rows: "list[Row]") -> None:
    import numpy as np

    detail = rows[0].detail
    losses = np.asarray(detail["losses"], float)
    cap = max(3 * detail["start"], 1e-12)
    ax.semilogx(
        detail["rates"], np.minimum(np.where(np.isfinite(losses), losses, cap), cap), "o-", color=BLUE
    )
    ax.axhline(detail["start"], color="k", lw=0.8, ls="--")
    ax.text(0.01, detail["start"], "before", transform=ax.get_yaxis_transform(), va="bottom", fontsize=8)
    if rows[0].reference:
        ax.axvline(rows[0].reference, color=ORANGE, lw=1)
        word = rows[0].against.split(",")[0]
        ax.text(rows[0].reference, 0.97, f" {word}", transform=ax.get_xaxis_transform(), va="top", fontsize=9)
    ax.set(xlabel="learning rate", ylabel="loss after a few steps (cut at 3 times)", title="A short sweep")


def _series(ax: "Axes", rows: "list[Row]") -> None:
    import numpy as np

    names: dict[str, list[Any]] = {}
    for row in rows:
        names.setdefault(row.quantity.split(":")[0], []).append(row)
    for colour, (name, own) in zip((BLUE, RED, GREEN, ORANGE), names.items()):
        for row, style in zip(own, ("-", "--")):
            values = np.asarray(row.detail["curve"])
            scale = np.abs(values).max() or 1.0
            word = "variance" if style == "-" else "autocorrelation"
            ax.plot(values / scale, style, color=colour, label=f"{name}, {word}")
    ax.set(xlabel="window", ylabel="indicator over its largest value", title="Early-warning indicators")
    ax.legend()


Drawing = tuple[str, "Callable[[Axes, list[Row]], None]", str]
FIGURES: dict[str, tuple[Drawing, ...]] = {
    "curvature": (
        (
            "eigenvalues",
            _eigenvalues,
            "The largest eigenvalues with their residuals, and 2/η where the rate is known.",
        ),
        (
            "nodes",
            _density,
            "Spectral density by stochastic Lanczos quadrature, smoothed; a logarithmic axis.",
        ),
    ),
    "noise": (
        (
            "slopes",
            _slopes,
            "How each example's loss changes along the steepest direction; ticks mark those listed.",
        ),
    ),
    "representation": (("singular_values", _singular, "Singular values of the centred features."),),
    "health": (
        (
            "logits",
            _bars("Attention logits", "largest in size", "logits", True),
            "The largest attention logit of each layer; dashed: where one key stands out to 99%.",
        ),
        (
            "entropies",
            _bars("Attention entropy", "over the uniform one", "entropies", True),
            "The mean entropy of each layer's attention over the uniform one.",
        ),
        (
            "dead",
            _bars("Dead units", "share", "dead"),
            "The share of units that never change, layer by layer.",
        ),
        (
            "ratios",
            _bars("Gradient over weight norm", "ratio", "ratios", True),
            "Each layer's gradient over its weights; dashed: the median.",
        ),
    ),
    "pair": (("losses", _barrier, "The loss on the straight line from this model to the other."),),
    "fragility": (
        ("sparsity", _pruning, "The loss as the smallest weights are removed; dashed: all weights."),
        ("bits", _rounding, "The loss with every layer rounded; dashed: full precision."),
        (
            "rises",
            _bars("One layer at 3 bits", "rise of the loss", "rises"),
            "What rounding one layer alone costs.",
        ),
    ),
    "rates": (("rates", _rates, "The loss after a few steps of plain SGD from here, against the rate."),),
    "series": (("curve", _series, "Variance and lag-1 autocorrelation in a rolling window."),),
}
