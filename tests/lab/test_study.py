import math

import pytest

from armillary.lab import Check, InputError, Study, at_least, at_most, between, close_to


def experiment(key, *, rate=0.1):
    return {}


def value(arms):
    return arms["a"].x


def test_bounds():
    assert at_most(2).contains(-5, 2)
    assert at_most(2).excludes(2.1, 3)
    assert not at_most(2).contains(1, 2.1)
    assert not at_most(2).excludes(1.9, 2.1)
    assert at_least(2).excludes(-math.inf, 1.9)
    bound = close_to(-4.0, relative=0.25)
    assert (bound.low, bound.high) == (-5.0, -3.0)
    assert str(between(1, 2)) == "1 to 2"
    with pytest.raises(InputError):
        between(2, 1)
    with pytest.raises(InputError):
        close_to(0.0, relative=0.1)


@pytest.mark.parametrize(
    ("declaration", "words"),
    [
        (lambda: Study(experiment, [Check("c", "s", value, at_most(1))]), "no control"),
        (lambda: Study(experiment, [Check("c", "s", value, at_most(1), {"a": "b"})]), "no arm 'a'"),
        (lambda: Study(experiment, arms={"a": {"rte": 1.0}}), "did you mean 'rate'"),
        (lambda: Study(experiment, full={"rte": 1.0}), "did you mean 'rate'"),
        (lambda: Study(lambda key, rate: {}), "signature"),
        (lambda: Study(experiment, data=lambda: 0), "signature"),
        (lambda: Study(lambda key, *, rate: {}), "no default"),
        (lambda: Study(lambda key, *, seed=1: {}), "column"),
        (lambda: Check("c", "s", value, at_most(1), basis="hunch"), "basis"),
        (
            lambda: Study(experiment, requires=[Check("c", "s", value, at_most(1), {"a": "a"})]),
            "then it is a check",
        ),
        (
            lambda: Study(
                experiment,
                [Check("c", "s", value, at_most(1), {"default": "default"})],
                requires=[Check("c", "s", value, at_most(1))],
            ),
            "two checks",
        ),
    ],
)
def test_a_wrong_declaration_says_what_is_wrong(declaration, words):
    with pytest.raises(InputError, match=words):
        declaration()
