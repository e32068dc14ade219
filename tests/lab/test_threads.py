"""Linear algebra keeps to one thread a device while a study runs, and only then."""

import jax
import jax.numpy as jnp
import scipy.linalg  # noqa: F401
from threadpoolctl import threadpool_info, threadpool_limits

from armillary.lab import Study, catalogue, settings
from armillary.lab.plan import Plan
from armillary.lab.sweep import sweep


def threads():
    return {i["num_threads"] for i in threadpool_info() if i["user_api"] == "blas"}


def seen(plan):
    study = Study(lambda key, *, size=2: {"x": jax.random.normal(key, (size,)) @ jnp.ones(size)})
    found = []

    def notify(event, **_):
        found.append((event, threads()))

    sweep(
        catalogue.find(study), settings.arms(study), [0, 1], plan=plan, notify=notify
    )  # called while it runs
    return dict(found)


def test_two_devices_share_the_cores():
    with threadpool_limits(2, user_api="blas"):
        during = seen(Plan(2, 1))
        assert during["compile"] == {1}
        assert during["end"] == threads() == {2}


def test_one_device_may_use_them_all():
    with threadpool_limits(2, user_api="blas"):
        assert seen(Plan(1, 1))["compile"] == {2}
