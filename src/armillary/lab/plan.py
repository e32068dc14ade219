"""How large a chunk of runs is: small enough for the cache, large enough to fill the vector units."""

import math
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend import core

CACHE_BYTES = 1 << 20
"""What the arrays that one operation touches, over all runs of a chunk, should stay within: an L2 cache."""
MAX_LANES = 64
MIN_LANES = 4
"""Fewer gain nothing (such runs fill the vector units alone) and take longer to compile than one."""


@dataclass(frozen=True)
class Plan:
    """Where runs go. None: chosen by the lab."""

    devices: int | None = None
    chunk: int | None = None


def devices(plan: Plan | None = None) -> list[jax.Device]:
    """This host's devices, a CPU core being one.

    The number of CPU devices is left alone if the user set it or if JAX has started.
    """
    if (
        not _started()
        and jax.config.values["jax_num_cpu_devices"] < 0
        and "device_count" not in os.environ.get("XLA_FLAGS", "")
    ):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    found = jax.local_devices()
    return found[: plan.devices] if plan and plan.devices else found


def _started() -> bool:
    from jax._src import xla_bridge  # no public way to ask

    return xla_bridge.backends_are_initialized()


@dataclass(frozen=True)
class Footprint:
    """Bytes that one run touches."""

    working: int
    """By the largest operation among those repeated most: what has to be in cache at once."""
    peak: int
    """By its largest operation of all."""
    outputs: int
    """By what it returns."""
    loops: bool
    """Whether a loop's length depends on the run: mapped runs would all wait for the longest."""


def footprint(closed: core.ClosedJaxpr, batched: Iterable[bool]) -> Footprint:
    """The footprint of one run; `batched` says which inputs are the run's own, not shared by all."""
    sizes: list[tuple[int, int]] = []
    loops = _walk(closed.jaxpr, list(batched), 1, sizes)
    most = max((times for times, _ in sizes), default=1)
    return Footprint(
        working=max((size for times, size in sizes if 10 * times >= most), default=0),
        peak=max((size for _, size in sizes), default=0),
        outputs=sum(_bytes(v) for v in closed.jaxpr.outvars),
        loops=loops,
    )


def _walk(jaxpr: Any, batched: list[bool], times: int, sizes: list[tuple[int, int]]) -> bool:
    """Note how often each operation runs and the bytes it touches; says whether a loop's length varies."""
    own = {v for v, b in zip(jaxpr.invars, batched) if b}
    loops = False
    for eqn in jaxpr.eqns:
        mine = [not isinstance(v, core.Literal) and v in own for v in eqn.invars]
        if any(mine):
            own.update(eqn.outvars)
        inner = [p for value in eqn.params.values() for p in _jaxprs(value)]
        scan = eqn.primitive.name == "scan"
        for sub in inner:
            flags = mine if len(mine) == len(sub.invars) else [any(mine)] * len(sub.invars)
            if scan:  # what a loop carries becomes the run's own with the first step
                first, last = eqn.params["num_consts"], eqn.params["num_consts"] + eqn.params["num_carry"]
                flags = [*mine[:first], *[any(mine)] * (last - first), *mine[last:]]
            loops = _walk(sub, flags, times * eqn.params["length"] if scan else times, sizes) or loops
        loops = loops or (eqn.primitive.name == "while" and any(mine))
        if not inner and any(mine):
            touched = [v for v, m in zip(eqn.invars, mine) if m]
            sizes.append((times, sum(map(_bytes, [*touched, *eqn.outvars]))))
    return loops


def _jaxprs(value: Any) -> list[Any]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [p for v in value for p in _jaxprs(v)]
    return []


def _bytes(var: Any) -> int:
    aval = var.aval
    size = getattr(aval, "dtype", np.dtype("float32"))
    return math.prod(getattr(aval, "shape", ())) * (size.itemsize if isinstance(size, np.dtype) else 8)


def chunk_size(runs: int, places: list[jax.Device], size: Footprint, plan: Plan | None = None) -> int:
    """How many runs one call of a program maps over.

    On a CPU bounded by the cache, on an accelerator by its memory; then evened out, so that the last round
    over the devices is not nearly empty.
    """
    if plan and plan.chunk:
        return plan.chunk
    if places[0].platform == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (4 * len(places))
        cap = min(MAX_LANES, CACHE_BYTES // max(size.working, 1))
        cap = 1 if size.loops or cap < MIN_LANES else cap
    else:
        stats = places[0].memory_stats() or {}
        memory = stats.get("bytes_limit", 8 << 30) // 2
        cap = runs
    cap = max(1, min(cap, memory // max(1, size.outputs + 4 * size.peak)))
    rounds = math.ceil(runs / (cap * len(places)))
    return max(1, min(cap, math.ceil(runs / (rounds * len(places)))))
