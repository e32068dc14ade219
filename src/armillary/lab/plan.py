"""How large a chunk of runs is: small enough for the cache, large enough to fill the vector units."""

import contextlib
import ctypes
import math
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.extend import core

from armillary.lab.errors import InputError

CACHE_BYTES = 1 << 20
"""What the arrays that one operation touches, over all runs of a chunk, should stay within: an L2 cache."""
MAX_LANES = 64
MIN_LANES = 4
"""Fewer gain nothing (such runs fill the vector units alone) and take longer to compile than one."""
BEST_BYTES = CACHE_BYTES // 2
"""More lanes than the fewest stay within this: they share the cache with what the next operation touches."""


@dataclass(frozen=True)
class Plan:
    """Where runs go. None: chosen by the lab."""

    devices: int | None = None
    chunk: int | None = None
    memory: int | None = None
    """Bytes that this process may take; with Ray, each worker."""
    ray: str | None = None
    """`local`, or the address of a Ray cluster."""
    in_flight: int | None = None
    """With Ray: how many chunks may be under way at once."""


def parse_bytes(text: str) -> int:
    """The bytes that `2GB`, `1.5 GiB` or `800m` stand for.

    **Raises:** `InputError` if it is no amount of memory.
    """
    found = re.fullmatch(
        r"(\d{1,15}(?:\.\d{1,15})?)\s*([kmgt]?)(i?)b?", text.strip(), re.ASCII | re.IGNORECASE
    )
    if found is None or (found[3] and not found[2]):
        raise InputError(f"--memory {text!r}: expected an amount of memory, as in 800MB, 2GB or 1.5GiB")
    size = int(Fraction(found[1]) * (1024 if found[3] else 1000) ** " kmgt".index(found[2].lower() or " "))
    if size < 1:
        raise InputError(f"--memory {text!r}: expected more than nothing, as in 800MB or 2GB")
    return size


def in_words(size: float) -> str:
    """Bytes as a person says them."""
    units = ["bytes", "kB", "MB", "GB", "TB"]
    while abs(size) >= 1000 and len(units) > 1:
        size /= 1000
        units.pop(0)
    return f"{size:.3g} {units[0]}"


def at_least(size: int) -> str:
    """What to type for so many bytes and a little to spare, in two digits."""
    scale, unit = next((p for p in [(1e12, "TB"), (1e9, "GB"), (1e6, "MB")] if size >= p[0]), (1e3, "kB"))
    amount = 1.05 * size / scale
    step = 10.0 ** (math.floor(math.log10(max(amount, 1.0))) - 1)
    return f"{math.ceil(amount / step) * step:.6g}{unit}"


def resident() -> int:
    """Bytes of memory that this process has now."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def most_resident() -> int:
    """The most bytes of memory that this process has had so far."""
    try:
        with open("/proc/self/status", encoding="ascii") as file:
            return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))
    except (OSError, ValueError, StopIteration):
        return resident()


def trim() -> None:
    """Give back what the allocator holds and nobody uses: after compiling, that is most of what compiling took."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


@cache
def physical() -> int:
    """Bytes of memory that this machine has, or this container may take."""
    return min([os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_container()])


def _container(groups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> list[int]:
    """The limits on memory of the control groups that this process is in, of either version."""
    found = []
    with contextlib.suppress(OSError, ValueError):
        for line in own.read_text().splitlines():
            _, kinds, path = line.split(":", 2)
            if kinds == "":
                top, name = groups, "memory.max"
            elif "memory" in kinds.split(","):
                top, name = groups / "memory", "memory.limit_in_bytes"
            else:
                continue
            folder = top / path.lstrip("/")
            for each in [folder, *folder.parents]:
                with contextlib.suppress(OSError, ValueError):  # none here, or `max`
                    found.append(int((each / name).read_text()))
                if each == top:
                    break
    return [limit for limit in found if limit > 0]


def devices(plan: Plan | None = None) -> list[jax.Device]:
    """This host's devices, a CPU core being one.

    The number of CPU devices is left alone if the user set it or if JAX has started.
    """
    if (
        not started()
        and jax.config.values["jax_num_cpu_devices"] < 0
        and "device_count" not in os.environ.get("XLA_FLAGS", "")
    ):
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)))
    found = jax.local_devices()
    return found[: plan.devices] if plan and plan.devices else found


def started() -> bool:
    """Whether JAX has taken its devices already."""
    from jax._src import xla_bridge  # no public way to ask

    return xla_bridge.backends_are_initialized()


@dataclass(frozen=True)
class Footprint:
    """Bytes that one run touches."""

    working: int
    """By the largest operation among those repeated most: what has to be in cache at once."""
    peak: int
    """By all that it holds at once, at its worst moment."""
    outputs: int
    """By what it returns."""
    loops: bool
    """Whether a loop's length depends on the run: mapped runs would all wait for the longest."""


def footprint(closed: core.ClosedJaxpr, batched: Iterable[bool]) -> Footprint:
    """The footprint of one run; `batched` says which inputs are the run's own, not shared by all."""
    sizes: list[tuple[int, int]] = []
    loops, held = _walk(closed.jaxpr, list(batched), 1, sizes)
    most = max((times for times, _ in sizes), default=1)
    return Footprint(
        working=max((size for times, size in sizes if 10 * times >= most), default=0),
        peak=held,
        outputs=sum(_bytes(v) for v in closed.jaxpr.outvars),
        loops=loops,
    )


def _walk(jaxpr: Any, batched: list[bool], times: int, sizes: list[tuple[int, int]]) -> tuple[bool, int]:
    """Note how often each operation runs and the bytes it touches.

    Says whether a loop's length varies, and how many bytes are held at once, from first to last use.
    """
    own = {v for v, b in zip(jaxpr.invars, batched) if b}
    last = {v: i for i, eqn in enumerate(jaxpr.eqns) for v in eqn.invars if not isinstance(v, core.Literal)}
    last |= {v: len(jaxpr.eqns) for v in jaxpr.outvars if not isinstance(v, core.Literal)}
    held = most = sum(map(_bytes, own))
    loops = False
    for i, eqn in enumerate(jaxpr.eqns):
        mine = [not isinstance(v, core.Literal) and v in own for v in eqn.invars]
        inner = [p for value in eqn.params.values() for p in subprograms(value)]
        scan = eqn.primitive.name == "scan"
        within = 0
        for sub in inner:
            flags = mine if len(mine) == len(sub.invars) else [any(mine)] * len(sub.invars)
            if scan:  # what a loop carries becomes the run's own with the first step
                first, stop = carried(eqn, sub)
                flags = [*mine[:first], *[any(mine)] * (stop - first), *mine[stop:]]
            varies, more = _walk(sub, flags, times * eqn.params["length"] if scan else times, sizes)
            loops = loops or varies
            within = max(within, more - sum(_bytes(v) for v, f in zip(sub.invars, flags) if f))
        loops = loops or (eqn.primitive.name == "while" and any(mine))
        if not any(mine):
            continue
        own.update(eqn.outvars)
        held += sum(map(_bytes, eqn.outvars))
        most = max(most, held + within)
        touched = [v for v, m in zip(eqn.invars, mine) if m]
        held -= sum(_bytes(v) for v in {*touched, *eqn.outvars} if last.get(v, i) <= i)
        if not inner:
            sizes.append((times, sum(map(_bytes, [*touched, *eqn.outvars]))))
    return loops, most


def carried(scan: Any, body: Any) -> tuple[int, int]:
    """Where among a scan's inputs its carry starts and stops: after what every step shares, before what it walks.

    Told by shapes, since JAX's versions name the counts differently: what is walked or stacked lacks an axis within.
    """
    same = [v.aval.ndim == w.aval.ndim for v, w in zip(scan.outvars, body.outvars, strict=True)]
    walked = [v.aval.ndim != w.aval.ndim for v, w in zip(scan.invars, body.invars, strict=True)]
    stop = len(walked) - sum(walked)
    return stop - sum(same), stop


def subprograms(value: Any) -> list[Any]:
    """The programs within a parameter of an operation."""
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [p for v in value for p in subprograms(v)]
    return []


def _bytes(var: Any) -> int:
    aval = var.aval
    size = getattr(aval, "dtype", np.dtype("float32"))
    return math.prod(getattr(aval, "shape", ())) * (size.itemsize if isinstance(size, np.dtype) else 8)


def room(place: jax.Device, plan: Plan) -> int:
    """Bytes that chunks may take: on a CPU those of all devices together, on an accelerator its own.

    **Raises:** `InputError` if the process has more already than it may take.
    """
    if place.platform != "cpu":
        return ((place.memory_stats() or {}).get("bytes_limit", 8 << 30)) // 2
    now = resident()
    if plan.memory and plan.memory <= now:
        raise InputError(
            f"--memory {in_words(plan.memory)}: armillary itself takes {in_words(now)} already;"
            f" expected {at_least(now)} or more"
        )
    return (plan.memory or 3 * physical() // 4) - now


def chunk_size(runs: int, places: int, platform: str, size: Footprint, memory: int, plan: Plan) -> int:
    """How many runs one call of a program maps over.

    On a CPU bounded by the cache, on an accelerator by its memory; then evened out, so that the last round
    over the places is not nearly empty.
    """
    if plan.chunk:
        return min(plan.chunk, runs)
    cap = runs
    if platform == "cpu":
        fit = CACHE_BYTES // max(size.working, 1)
        cap = min(MAX_LANES, max(MIN_LANES, BEST_BYTES // max(size.working, 1)))
        cap = 1 if size.loops or fit < MIN_LANES else cap
    cap = max(1, min(cap, memory // max(1, size.outputs + size.peak)))
    rounds = math.ceil(runs / (cap * places))
    return max(1, min(cap, math.ceil(runs / (rounds * places))))
