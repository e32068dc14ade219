"""Every branch of the verdict, on data whose intervals are known."""

import numpy as np
import pytest
import scipy.stats
import xarray as xr

from armillary.lab import Check, Report, RunError, Study, at_least, at_most
from armillary.lab.verdict import interval, judge


def experiment(key):
    return {}


def arms(**values):
    return {name: xr.Dataset({"x": ("seed", np.asarray(v, float))}) for name, v in values.items()}


def spread(mean, width=0.01, seeds=8):
    return mean + width * np.linspace(-1, 1, seeds)


def verdict(claim, control, *, requires=(), **options):
    check = Check("c", "s", lambda a: a["claim"].x, at_most(1.0), {"claim": "control"}, **options)
    others = {"claim": {}, "control": {}, "other": {}}
    study = Study(experiment, [check], others, requires=requires)
    return judge(study, arms(claim=claim, control=control, other=spread(0.5, seeds=len(claim))))


@pytest.mark.parametrize(
    ("claim", "control", "expected"),
    [
        (spread(0.5), spread(2.0), "holds"),
        (spread(2.0), spread(3.0), "fails"),
        (spread(2.0), spread(0.5), "fails"),
        (spread(0.5), spread(0.7), "vacuous"),
        (spread(1.0, 0.5), spread(3.0), "undecided"),
        (spread(0.5), spread(1.0, 0.5), "undecided"),
        (spread(0.5), np.append(spread(2.0, seeds=7), np.nan), "undecided"),
        (np.append(spread(0.5, seeds=7), np.nan), spread(2.0), "diverged"),
        (np.append(spread(0.5, seeds=7), np.inf), spread(2.0), "diverged"),
        (spread(0.5, seeds=4), spread(2.0, seeds=4), "undecided"),
    ],
)
def test_verdicts(claim, control, expected):
    assert verdict(claim, control).verdict == expected


def test_a_control_that_may_diverge_violates_the_bound():
    nan = np.full(8, np.nan)
    assert verdict(spread(0.5), nan, control_may_diverge=True).verdict == "holds"


def test_holds_under_must_hold_too():
    assert verdict(spread(0.5), spread(2.0), holds_under=[{"claim": "other"}]).verdict == "holds"
    assert verdict(spread(0.5), spread(2.0), holds_under=[{"claim": "control"}]).verdict == "fails"


def test_an_unmet_precondition_comes_first():
    learned = Check("learned", "it learned", lambda a: a["claim"].x, at_least(0.9))
    found = verdict(spread(2.0, seeds=8), spread(3.0), requires=[learned])
    assert found.verdict == "fails"  # met
    found = verdict(spread(0.5), spread(3.0), requires=[learned])
    assert (found.verdict, found.requires[0].verdict) == ("undecided", "unmet")
    assert "learned" in found.reason


def test_a_study_has_the_first_verdict_in_order():
    values = {"good": spread(0.5), "bad": spread(2.0), "wide": spread(1.0, 0.5)}
    check = lambda name: Check(name, "s", lambda a: a[name].x, at_most(1.0), {name: "bad"})
    others = {name: {} for name in values}
    judged = lambda *names: (
        judge(Study(experiment, [check(n) for n in names], others), arms(**values)).verdict
    )
    assert judged("good") == "holds"
    assert judged("good", "wide") == "undecided"
    assert judged("wide", "bad", "good") == "fails"


def test_several_controls_and_a_control_by_function():
    def half_the_score(a):
        return a["claim"].x / 2

    check = Check("c", "s", lambda a: a["claim"].x, at_least(1.0), [{"claim": "control"}, half_the_score])
    study = Study(experiment, [check], {"claim": {}, "control": {}})
    found = judge(study, arms(claim=spread(1.5), control=spread(0.1)))
    assert found.verdict == "holds"
    assert [c.substitution for c in found.checks[0].controls] == ["claim → control", "half the score"]
    assert judge(study, arms(claim=spread(3.0), control=spread(0.1))).verdict == "vacuous"


def test_interval_is_student_s():
    values = np.random.default_rng(0).normal(size=11)
    reference = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.99)
    found = interval(values)
    np.testing.assert_allclose([found.low, found.high], [reference.low, reference.high], rtol=1e-12)


def test_bootstrap_agrees_with_scipy():
    values = np.random.default_rng(1).exponential(size=40)
    reference = scipy.stats.bootstrap((values,), np.mean, confidence_level=0.99, method="percentile", rng=0)
    found = interval(values, bootstrap=True)
    np.testing.assert_allclose([found.low, found.high], reference.confidence_interval, rtol=0.03)


def test_one_seed_decides_nothing():
    found = interval(np.array([1.0]))
    assert found.low == -np.inf
    assert found.high == np.inf


def test_a_check_of_the_wrong_shape_is_named():
    check = Check("c", "s", lambda a: a["claim"].x.mean(), at_most(1.0), {"claim": "claim"})
    with pytest.raises(RunError, match="'c' must give one number a seed"):
        judge(Study(experiment, [check], {"claim": {}}), arms(claim=spread(0.5)))


def test_reports_decide_nothing():
    study = Study(
        experiment,
        [Check("c", "s", lambda a: a["claim"].x, at_most(1.0), {"claim": "control"})],
        {"claim": {}, "control": {}},
        reports=[Report("r", "shown", lambda a: a["control"].x * np.nan)],
    )
    found = judge(study, arms(claim=spread(0.5), control=spread(2.0)))
    assert (found.verdict, found.reports[0].verdict) == ("holds", "shown")
