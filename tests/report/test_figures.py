"""Figures: one style around every study's, the same bytes for the same figure, kept beside the record."""

import io
import re
from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from PIL import Image

from armillary import api
from armillary.lab import catalogue, record
from armillary.report import figures


def draw():
    with figures.house():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained", width_ratios=(1, 2))
        axes[0].imshow(np.eye(3))
        axes[1].plot([0, 1], [0, 1 / 3], label="claim")
        axes[1].set(
            xlabel="a label that is far too long for a small picture of one panel, in nats", title="main"
        )
        axes[1].legend()
    return figure


def test_the_house_style_ends_with_its_context():
    before = plt.rcParams["axes.spines.top"]
    with figures.house():
        assert plt.rcParams["axes.spines.top"] is False
        assert plt.rcParams["axes.prop_cycle"].by_key()["color"][3] == "#D55E00"
    assert plt.rcParams["axes.spines.top"] == before


def test_the_cycle_can_be_told_apart_without_colour_vision():
    with figures.house():
        colours = [int(c[1:], 16) for c in plt.rcParams["axes.prop_cycle"].by_key()["color"]]
    rgb = np.array([[c >> 16, c >> 8 & 255, c & 255] for c in colours]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    deutan = np.array([[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]])  # Machado 2009
    seen = np.clip(linear @ deutan.T, 0, 1) ** (1 / 2.4)
    distance = np.linalg.norm(seen[:, None] - seen[None], axis=-1)[:4, :4]
    assert distance[np.triu_indices(4, 1)].min() > 0.15  # claim, control and the two beside them


def test_the_same_figure_is_the_same_bytes():
    first, second = (figures.svg(draw()) for _ in range(2))
    assert first == second
    text = first.decode()
    assert "<metadata" not in text
    assert not re.search(r"20\d\d-\d\d-\d\d", text)
    assert not re.search(r' d="[^"]*\.\d{3}', text)
    assert figures.thumbnail(draw()) == figures.thumbnail(draw())


def test_a_thumbnail_is_the_main_panel_with_its_words_inside():
    figure = draw()
    image = Image.open(io.BytesIO(figures.thumbnail(figure)))
    assert image.size == (560, 350)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["main"]
    figure.canvas.draw()
    label = figure.axes[0].xaxis.label.get_window_extent()
    assert 0 <= label.x0
    assert label.x1 <= figure.bbox.width
    marked = draw()
    marked.axes[0].set_gid("thumbnail")
    figures.thumbnail(marked)
    assert [ax.get_title(loc="left") for ax in marked.axes] == [""]


def test_a_thumbnails_legend_hides_no_data():
    with figures.house():
        figure, ax = plt.subplots(layout="constrained")
        x = np.linspace(0, 1, 50)
        for i, phase in enumerate(np.linspace(0, 3, 4)):
            ax.plot(x, np.sin(20 * x + phase), label=f"phase {i}")
        ax.fill_between(x, -1, -0.5, alpha=0.2)
        ax.scatter([0.9], [0.9], label="a dot")
        ax.legend(bbox_to_anchor=(1, -0.2))
    figures.thumbnail(figure)
    figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    points = np.vstack([ax.transData.transform(line.get_xydata()) for line in ax.lines])
    assert not any(box.contains(*point) for point in points)
    assert ax.get_ylim()[1] > 1.1  # room was made
    assert max(ax.get_yticks()) <= 1.1  # where nothing is measured
    assert ax.get_window_extent().contains(box.x0, box.y0)


def test_a_thumbnail_has_its_legend_in_one_column_inside_and_its_panel_whole():
    with figures.house():
        figure, axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
        for i in range(4):
            axes[0].plot([0, 1], [0, i], label=f"a label, number {i}")
        axes[0].legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.1), frameon=False)
        axes[0].set_title("Two groups take turns …")
        axes[0].set_gid("thumbnail")
    figures.thumbnail(figure)
    figure.canvas.draw()
    (ax,) = figure.axes
    box, panel = ax.get_legend().get_window_extent(), ax.get_window_extent()
    assert panel.width > 0.7 * figure.bbox.width
    assert panel.contains(box.x0, box.y0)
    assert panel.contains(box.x1, box.y1)
    assert not ax.get_legend().get_frame_on()
    assert ax.get_title(loc="left") == "Two groups take turns"


def test_a_legend_that_hides_data_moves_and_one_beside_the_axes_stays():
    with figures.house():
        figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
        for ax in axes:
            ax.plot([0, 1], [0, 1], label="a rising line")
        hiding = axes[0].legend(loc="upper right")
        beside = axes[1].legend(loc="lower left", bbox_to_anchor=(0, 1.1))
        figure.canvas.draw()
        before = beside.get_window_extent().bounds
        for ax in axes:
            figures._uncover(ax)
    figure.canvas.draw()
    assert not figures._covers(hiding.get_window_extent(), axes[0])
    np.testing.assert_allclose(beside.get_window_extent().bounds, before, atol=1)


def test_numbers_below_an_axes_stay_apart():
    with figures.house():
        figure, ax = plt.subplots(figsize=(2.4, 2), layout="constrained")
        ax.plot([0, 190_000], [0, 1])
        figure.canvas.draw()
        ax.xaxis.get_major_locator().set_params(nbins=9)
        figure.canvas.draw()
        figures._thin(ax)
    figure.canvas.draw()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 3
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


def test_ticks_are_plain_numbers_without_an_offset():
    with figures.house():
        figure, axes = plt.subplots(1, 2)
        axes[0].plot([1000.0, 1000.002])
        axes[1].semilogy([4.0, 30.0])
        figure.canvas.draw()
        assert axes[0].yaxis.get_offset_text().get_text() == ""
        ticks = [*axes[1].get_yticklabels(), *axes[1].get_yticklabels(minor=True)]
        assert not any("times" in t.get_text() for t in ticks)


def test_record_keeps_the_figure_beside_it_and_redraws_it_from_the_store(descent):
    entry = catalogue.find(descent)
    assert record.figure(entry) is None
    api.record(entry)
    vector, small = record.figure(entry)
    assert vector.parent == record.path_for(entry).parent
    before = vector.read_bytes(), small.read_bytes()
    vector.unlink()
    told = []
    api.redraw(entry, notify=lambda event, **info: told.append((event, info)))
    assert (vector.read_bytes(), small.read_bytes()) == before
    assert next(info["reused"] for event, info in told if event == "start") == 16
    assert len(record.history(entry)) == 1


def test_no_redrawing_without_a_record(descent):
    with pytest.raises(api.InputError, match="has no record"):
        api.redraw(descent)


def test_a_sweep_of_what_is_true_or_false_is_drawn_as_a_share():
    axis = [0.1, 0.2, 0.3]
    found = np.array([[True, False, False], [True, True, False]])
    data = xr.Dataset({"there": (["seed", "rate"], found)}, {"seed": [0, 1], "rate": axis})
    (ax,) = figures.sweep(data, ["rate"]).axes
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [1.0, 0.5, 0.0])
