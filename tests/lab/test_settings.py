import pytest

from armillary.lab import InputError, Study, catalogue, settings


@pytest.fixture
def study(descent) -> Study:
    return catalogue.find(descent).study


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rate", "1e-2", 0.01),
        ("rate", "1", 1.0),
        ("steps", "40", 40),
        ("steps", "1e2", 100),
        ("start", "ones", "ones"),
        ("sizes", "4,5,6", (4, 5, 6)),
    ],
)
def test_text_becomes_the_default_s_kind(study, name, text, value):
    found = settings.parse(study, name, text)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rat", "1", "did you mean 'rate'"),
        ("rate", "fast", "expected a number"),
        ("steps", "2.5", "expected a whole number"),
        ("steps", "-3", "not negative"),
        ("start", "one", "did you mean 'ones'"),
        ("sizes", "4,x", "expected values separated by commas"),
    ],
)
def test_wrong_values_name_setting_value_and_expectation(study, name, text, words):
    with pytest.raises(InputError, match=words) as caught:
        settings.parse(study, name, text)
    assert name in str(caught.value)


def test_axes(study):
    assert settings.parse_axis(study, "rate", "log:1e-2:1:3") == pytest.approx([0.01, 0.1, 1.0])
    assert settings.parse_axis(study, "rate", "lin:0:1:3") == [0.0, 0.5, 1.0]
    assert settings.parse_axis(study, "steps", "log:1:100:3") == [1, 10, 100]
    assert settings.parse_axis(study, "start", "ones,normal") == ["ones", "normal"]
    for text in ("log:0:1:3", "log:1:2", "lin:a:b:3", "cubic:1:2:3", "1,1", "", "lin:0:1:0"):
        with pytest.raises(InputError):
            settings.parse_axis(study, "rate", text)


def test_precedence_is_defaults_full_user_arm(study):
    assert settings.arms(study)["stable"]["steps"] == 30
    assert settings.arms(study, "full")["stable"]["steps"] == 100
    assert settings.arms(study, "full", {"steps": 7})["stable"]["steps"] == 7
    arms = settings.arms(study, "quick", {"rate": 0.1})
    assert (arms["stable"]["rate"], arms["unstable"]["rate"]) == (0.1, 2.1)


def test_what_every_arm_sets_cannot_be_set():
    def experiment(key, *, a=1.0, b=2.0):
        return {}

    study = Study(experiment, arms={"x": {"a": 1.0}, "y": lambda s: {"a": s["b"] * 2}})
    assert settings.arms(study, "quick", {"b": 3.0})["y"]["a"] == 6.0
    with pytest.raises(InputError, match="set by every arm"):
        settings.arms(study, "quick", {"a": 3.0})


def test_arms_that_keep_their_own_value_are_named():
    axis = [1.0, 2.0]

    def experiment(key, *, a=1.0, b=2.0, sizes=(1, 2), c=axis):
        return {}

    arms = {
        "plain": {},
        "own": {"a": 3.0, "c": [5.0]},
        "follows": lambda s: {"b": 5 * s["b"]},
        "of another": {"b": lambda s: s["a"]},
    }
    study = Study(experiment, arms=arms, full={"arms": {"plain": {}, "large": {"a": 9.0}}})
    assert settings.kept(study) == {}
    assert settings.kept(study, "quick", {"a": 4.0}) == {"a": ["own"]}
    assert settings.kept(study, "quick", {"a": 3.0, "sizes": (4,)}) == {}  # the same, or nobody's
    assert settings.kept(study, "quick", {"b": 7.0}) == {"b": ["of another"]}
    assert settings.kept(study, "quick", {"c": [1.0, 9.0], "a": 4.0}) == {"c": ["own"], "a": ["own"]}
    assert settings.kept(study, "full", {"a": 4.0}) == {"a": ["large"]}
    assert settings.kept_in_words({"a": ["own"]}) == [
        "a: 'own' keeps its own value; what was given is for the other arms"
    ]
    assert "'2', '3' and 2 more keep their own values" in settings.kept_in_words({"a": list("012345")})[0]


def test_grid_and_split():
    axes, grid = settings.points({"rate": [0.1, 0.2], "dim": 3, "size": [1, 2]})
    assert list(axes) == ["rate", "size"]
    assert [(p["rate"], p["size"]) for p in grid] == [(0.1, 1), (0.1, 2), (0.2, 1), (0.2, 2)]
    assert settings.split(grid[0]) == ({"rate": 0.1}, {"dim": 3, "size": 1})
