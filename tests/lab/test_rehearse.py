"""Settings at which a check cannot be computed are refused before anything runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import armillary
from armillary.lab import Check, InputError, RunError, Study, at_least, catalogue, settings
from armillary.lab.rehearse import rehearse
from armillary.lab.store import Store
from armillary.lab.sweep import imagined, sweep


def experiment(key, *, rate=[0.1, 0.2, 0.4], sizes=(2, 3), steps=3, shift=0.0):  # noqa: B006
    curve = shift + rate * jnp.arange(float(steps))
    return {
        "curve": curve,
        "by_size": jnp.array(sizes) * rate,
        "noise": jax.random.normal(key),
        "odd": rate > 1,
    }


def study(value, **extra):
    check = Check("c", "s", value, at_least(0), control=lambda arms: -arms["a"].noise.mean("rate") - 99)
    return Study(
        experiment,
        [check],
        {"a": {}, "b": {"shift": 1.0}},
        dims={"curve": ("step",), "by_size": ("size",)},
        coords={"size": lambda s: list(s["sizes"])},
        **extra,
    )


along = study(lambda arms: arms["a"].curve.max("step").mean("rate"))
picks = study(lambda arms: arms["a"].by_size.sel(size=3).mean("rate"))


def test_the_imagined_data_are_shaped_as_the_real_ones():
    arms = settings.arms(along, "quick", {"sizes": (4, 5, 6)})
    made, real = imagined(catalogue.find(along), arms), sweep(catalogue.find(along), arms, [0, 1]).data
    for arm in arms:
        assert dict(made[arm].sizes) == dict(real[arm].sizes)
        assert {n: (v.dims, v.dtype) for n, v in made[arm].items()} == {
            n: (v.dims, v.dtype) for n, v in real[arm].items()
        }
        assert all(np.array_equal(made[arm][d], real[arm][d]) for d in made[arm].coords)


def test_a_lost_axis_is_named_with_what_to_do():
    with pytest.raises(InputError, match=r"rate=0.1: check 'c' .* along rate = 0.1, 0.2, 0.4") as error:
        armillary.run(along, rate=0.1)
    assert "--over rate=0.1` measures without judging" in str(error.value)
    assert len(Store().table()) == 0
    assert armillary.run(along, rate=[0.1, 0.3], seeds=5).verdict == "holds"


def test_a_value_that_a_check_picks_is_missed():
    with pytest.raises(InputError, match=r"sizes=2,4, steps=5: check 'c'.*KeyError: .*size"):
        rehearse(catalogue.find(picks), "quick", {"sizes": (2, 4), "steps": 5})
    rehearse(catalogue.find(picks), "quick", {"sizes": (3, 4)})


def test_a_check_that_made_up_numbers_break_is_left_to_the_run():
    def choosy(arms):
        if arms["a"].curve.values.max() != np.float32(0.8):
            raise ValueError("not these")
        return arms["a"].noise.mean("rate") + 9

    assert armillary.run(study(choosy), seeds=5, shift=0.0).verdict == "holds"
    with pytest.raises(RunError, match="not these"):
        armillary.run(study(choosy), seeds=5, shift=1.0)
