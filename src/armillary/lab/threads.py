"""One thread a LAPACK call while several devices of one machine are at work."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import jax


@contextmanager
def one_thread_each(places: Sequence[jax.Device]) -> Iterator[None]:
    """Hold NumPy's and SciPy's linear algebra, which JAX calls on CPUs, to one thread, if devices share the cores.

    A device is a core here. Left alone, each device's factorization would start a thread on every core: two of
    3,000 rows side by side took 2.5 times as long on two cores.
    """
    if len(places) < 2 or places[0].platform != "cpu":
        yield
        return
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> Any:
    """The libraries whose threads can be limited; looking for them takes longer than a small chunk."""
    import scipy.linalg  # noqa: F401  loads the library that the limit is for
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
