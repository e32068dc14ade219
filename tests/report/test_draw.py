"""Intervals on a page stand where their numbers say."""

import math

import pytest

from armillary.lab import catalogue, record
from armillary.lab.study import Bound
from armillary.report.site import draw


def check(low, high, bound, *controls, **more):
    ends = [{"substitution": f"c{i}", "low": a, "high": b} for i, (a, b) in enumerate(controls)]
    return {"low": low, "high": high, "bound": bound, "controls": ends, **more}


def test_a_claim_inside_and_a_control_outside():
    drawn = draw.drawing(check(0.01, 0.02, [None, 0.05], (1.3, 1.4)))
    claim, control = drawn.rows
    left, width = drawn.bound
    assert (claim.says, control.says) == ("inside", "outside")
    assert claim.as_it_must
    assert control.as_it_must
    assert left == 0 < claim.left < claim.left + claim.width < left + width < control.left < 100
    assert drawn.scale == "log"


def test_what_broke_is_told():
    fails = draw.drawing(check(2.0, 3.0, [0.9, 1.1], (1.0, 1.05))).rows
    assert [(r.says, r.as_it_must) for r in fails] == [("outside", False), ("inside", False)]
    assert draw.drawing(check(0.9, 1.2, [0.95, None])).rows[0].says == "straddles"
    nothing = draw.drawing(check(None, None, [0, 1], (None, None))).rows
    assert [(r.says, r.as_it_must) for r in nothing] == [("not finite", False), ("not finite", True)]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ((0.5, 1.5), "linear"),
        ((-1.0, 2.0), "linear"),
        ((1e-9, 3.0), "log"),
        ((-1e4, 1e4), "symlog"),
        ((0.0, 0.0), "linear"),
    ],
)
def test_order_is_kept_on_every_scale(values, scale):
    low, high = values
    drawn = draw.drawing(check(low, high, [0.9, 1.1]))
    assert drawn.scale == scale
    at = sorted([(low, drawn.rows[0].left), (0.9, drawn.ends[0]), (1.1, drawn.ends[1])])
    assert [x for _, x in at] == sorted(x for _, x in at)
    ticks = [x for x, _ in drawn.ticks]
    assert ticks == sorted(set(ticks))
    assert all(-1e-6 <= x <= 100 for x in ticks)
    assert len(ticks) >= 2


def test_a_number_line_is_linear_where_it_says_so():
    drawn = draw.drawing(check(1.0, 2.0, [0.5, 3.0]))
    places = {float(word): at for at, word in drawn.ticks}
    (a, x), (b, y), *_ = sorted(places.items())
    slope = (y - x) / (b - a)
    assert drawn.rows[0].left == pytest.approx(x + slope * (1.0 - a))
    assert drawn.rows[0].width == pytest.approx(slope)


RECORDED = [slug for slug in catalogue.runnable() if record.latest(catalogue.row(slug))]


@pytest.mark.parametrize("slug", RECORDED)
def test_the_record_is_drawn_as_it_was_judged(slug):
    for found in record.latest(catalogue.row(slug))["checks"]:
        rows = draw.drawing(found).rows
        low, high = found["bound"]
        bound = Bound(-math.inf if low is None else low, math.inf if high is None else high)
        for row in rows:
            if row.low is not None:
                assert (row.says == "inside") == bound.contains(row.low, row.high)
                assert (row.says == "outside") == bound.excludes(row.low, row.high)
        if found["verdict"] == "holds":
            assert all(row.as_it_must for row in rows)
        if found["verdict"] == "fails":
            assert not all(row.as_it_must for row in rows if row.kind == "claim")
