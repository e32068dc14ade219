"""Experiment × settings × seeds → labelled data: planned in groups, computed once, kept in the store."""

import json
import queue
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr

from armillary.lab import backend, fingerprint, host, inputs, settings
from armillary.lab.backend import Done, Failed, Group, Notify
from armillary.lab.catalogue import Entry
from armillary.lab.errors import InputError, RunError
from armillary.lab.plan import Plan, devices
from armillary.lab.settings import Settings
from armillary.lab.store import Store, home, rows
from armillary.lab.study import Study


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, after the finished chunks were kept."""

    def __init__(self, kept: int, total: int):
        super().__init__(f"stopped; {kept} of {total} runs are kept, and the same command goes on from there")


@dataclass
class Swept:
    """What a sweep gives."""

    data: dict[str, xr.Dataset]
    """One data set an arm: dims `seed`, one a swept setting, then each measurement's own."""
    seconds: float
    """From call to data, on the wall's clock."""
    compile_seconds: float
    """Spent compiling, over all devices."""
    run_seconds: float
    """Spent computing, over all devices."""
    computed: int
    reused: int
    plan: list[str] = field(default_factory=list)
    """In words: devices, groups, chunks, programs."""


def silent(event: str, **_: Any) -> None:
    """The listener that says nothing."""


def seed_numbers(study: Study, count: int | None = None, first: int = 0) -> list[int]:
    """The seeds of a run: `count` of them from `first` on, without those on which a pilot was seen."""
    count = study.seeds if count is None else count
    if count < 1:
        raise InputError(f"seeds={count}: expected 1 or more")
    if not 0 <= first < 2**31:
        raise InputError(f"first seed {first}: expected 0 or more")
    found: list[int] = []
    seed = first
    while len(found) < count:
        if seed not in study.pilot_seeds:
            found.append(seed)
        seed += 1
    return found


def code_of(entry: Entry) -> str:
    """The code hash of a study, by its file; of a study typed into a prompt, by its experiment."""
    if entry.path is not None:
        return fingerprint.code(entry.path)
    body = entry.study.experiment.__code__
    return fingerprint.digest([body.co_code.hex(), repr(body.co_consts), repr(body.co_names)])


def sweep(
    entry: Entry,
    arms: dict[str, Settings],
    seeds: Sequence[int],
    *,
    store: Store | None = None,
    fresh: bool = False,
    plan: Plan | None = None,
    notify: Notify = silent,
) -> Swept:
    """Run every arm at every point of its axes with every seed; what the store has is not computed again.

    **Arguments:**

    - `entry`: the study.
    - `arms`: each arm's settings; a list or an array is an axis.
    - `seeds`: the seeds' numbers.
    - `store`: where rows are looked up and appended as each chunk ends.
    - `fresh`: compute everything, and append.
    - `plan`: devices and chunk, where they are to be forced.
    - `notify`: told what is happening, for a progress display.

    **Raises:** `RunError` if an experiment or a chunk fails, after the rest was computed and kept;
    `Interrupted` on Ctrl-C, likewise.
    """
    start = time.perf_counter()
    plan = plan or Plan()
    store = store or Store()
    store.check()
    study, code = entry.study, code_of(entry)
    _use_compile_cache()
    groups, places = _plan(study, code, arms, seeds)
    hashes = {id(g): _run_hashes(g, code, key) for key, g in groups.items()}
    total = sum(len(g.seeds) for g in groups.values())
    results = {id(g): _Results(len(g.seeds)) for g in groups.values()}
    if not fresh:
        _reuse(entry, code, store, groups.values(), hashes, results)
    work = [g for g in groups.values() if g.todo]
    reused = total - sum(len(g.todo) for g in work)
    notify("start", total=total, reused=reused, slug=entry.slug)
    run_seconds, done, failed = 0.0, reused, []

    def keep(result: Done) -> None:
        group, ids = result.group, hashes[id(result.group)]
        results[id(group)].put(result.runs, result.outputs)
        frame = rows(
            study=entry.slug,
            code=code,
            runs=[ids[r] for r in result.runs],
            seeds=[int(group.seeds[r]) for r in result.runs],
            settings=[group.static | dict(zip(group.names, group.floats[r].tolist())) for r in result.runs],
            outputs=result.outputs,
            seconds=result.seconds,
            plan=f"{_where(study)} chunk {group.chunk}",
        )
        store.append(entry.slug, code, frame)

    finished: queue.Queue[Any] = queue.Queue()
    try:
        for result in _execute(entry, code, work, plan, notify, finished) if work else ():
            if isinstance(result, Failed):
                failed.append(result)
                continue
            keep(result)
            run_seconds += result.seconds
            done += len(result.runs)
            notify("chunk", done=done, total=total)
    except KeyboardInterrupt:
        for result in list(finished.queue):
            if isinstance(result, Done):
                keep(result)
                done += len(result.runs)
        raise Interrupted(done, total) from None
    finally:
        notify("end")
    if failed:
        raise RunError(_failures(study, failed, total))
    measured = {name for r in results.values() for name in r.arrays}
    if unknown := sorted(set(study.dims) - measured):
        raise InputError(f"dims: no measurement {unknown[0]!r}; there are {', '.join(sorted(measured))}")
    data = {name: _dataset(study, arm, seeds, places[name], results) for name, arm in arms.items()}
    return Swept(
        data,
        seconds=time.perf_counter() - start,
        compile_seconds=sum(g.compile_seconds for g in work),
        run_seconds=run_seconds,
        computed=total - reused,
        reused=reused,
        plan=_explain(study, list(groups.values())),
    )


def imagined(entry: Entry, arms: dict[str, Settings], seeds: Sequence[int] = (0, 1)) -> dict[str, xr.Dataset]:
    """Each arm's data set as a sweep would give it, with random numbers for the measurements; nothing is run."""
    groups, places, *_ = _plan(entry.study, code_of(entry), arms, seeds)
    random = np.random.default_rng(0)
    results = {id(g): _Results(len(g.seeds)) for g in groups.values()}
    for group in groups.values():
        runs = range(len(group.seeds))
        outputs = {
            name: random.uniform(0.1, 1, (len(runs), *shape.shape)).astype(shape.dtype)
            for name, shape in backend.shapes(group).items()
        }
        results[id(group)].put(runs, outputs)
    return {name: _dataset(entry.study, arm, seeds, places[name], results) for name, arm in arms.items()}


def _execute(
    entry: Entry, code: str, work: list[Group], plan: Plan, notify: Notify, finished: "queue.Queue[Any]"
) -> Any:
    if not entry.study.host:
        return backend.execute(work, devices(plan), plan, notify, finished)
    if entry.path is None:
        raise InputError(
            "a host study runs in worker processes, which need its file; save it and give its path"
        )
    return host.execute(work, entry.slug if entry.row else str(entry.path), code, plan, notify, finished)


class _Results:
    """A group's measurements, runs first, filled chunk by chunk."""

    def __init__(self, runs: int):
        self.runs = runs
        self.arrays: dict[str, np.ndarray] = {}

    def put(self, runs: Sequence[int], outputs: dict[str, np.ndarray]) -> None:
        for name, value in outputs.items():
            if name not in self.arrays:
                self.arrays[name] = np.empty((self.runs, *value.shape[1:]), value.dtype)
            self.arrays[name][list(runs)] = value


Place = tuple[int, int]
"""A point's group (by id) and the index of its first seed's run in it."""


def _plan(
    study: Study, code: str, arms: dict[str, Settings], seeds: Sequence[int]
) -> tuple[dict[str, Group], dict[str, list[Place]]]:
    """The groups of runs, and each arm's points in them. Arms with equal points share their runs."""
    members: dict[str, dict[tuple[float, ...], int]] = {}
    groups: dict[str, Group] = {}
    where: dict[str, list[tuple[str, int]]] = {}
    for arm, chosen in arms.items():
        where[arm] = []
        for point in settings.points(chosen)[1]:
            traced, static = settings.split(point)
            given = [inputs.named(f, point) for f in (study.data, study.base)]
            key = json.dumps([static, sorted(traced), given], sort_keys=True, default=repr)
            if key not in groups:
                data, data_hash = inputs.load(study, point)
                base, base_hash = inputs.base(study, point, data, code, data_hash)
                empty = np.empty(0)
                groups[key] = Group(study, static, tuple(sorted(traced)), empty, empty, [], data, base)
                groups[key].label = f"{data_hash}{base_hash}"
            values = tuple(traced[name] for name in groups[key].names)
            index = members.setdefault(key, {}).setdefault(values, len(members[key]))
            where[arm].append((key, index))
    count = len(seeds)
    for key, group in groups.items():
        floats = np.array(list(members[key]), np.float64).reshape(len(members[key]), len(group.names))
        group.seeds = np.tile(np.asarray(seeds, np.uint32), len(floats))
        group.floats = np.repeat(floats, count, axis=0)
        group.todo = list(range(len(group.seeds)))
    return groups, {arm: [(id(groups[k]), i * count) for k, i in found] for arm, found in where.items()}


def _run_hashes(group: Group, code: str, key: str) -> list[str]:
    shared = fingerprint.digest([code, key, group.label, fingerprint.versions(), group.study.x64])
    return [
        fingerprint.digest([shared, seed, floats])
        for seed, floats in zip(group.seeds.tolist(), group.floats.tolist())
    ]


def _reuse(
    entry: Entry,
    code: str,
    store: Store,
    groups: Any,
    hashes: dict[int, list[str]],
    results: dict[int, _Results],
) -> None:
    wanted = {h for found in hashes.values() for h in found}
    stored = store.load(entry.slug, code, wanted)
    for group in groups:
        ids = hashes[id(group)]
        for run in group.todo:
            if ids[run] in stored:
                results[id(group)].put([run], {k: v[None] for k, v in stored[ids[run]].items()})
        group.todo = [run for run in group.todo if ids[run] not in stored]


def _dataset(
    study: Study, arm: Settings, seeds: Sequence[int], places: list[Place], results: dict[int, _Results]
) -> xr.Dataset:
    axes, grid = settings.points(arm)
    sizes = [len(v) for v in axes.values()]
    variables = {}
    for name in results[places[0][0]].arrays:
        parts = [results[group].arrays[name][first : first + len(seeds)] for group, first in places]
        values = np.stack(_pad(parts), axis=1)  # seeds, points, own
        own = list(study.dims.get(name, ()))
        rank = values.ndim - 2
        if name in study.dims and len(own) != rank:
            raise InputError(
                f"dims: measurement {name!r} has {rank} dimensions, but {tuple(own)} names {len(own)}"
            )
        own = own or [f"{name}_{i}" for i in range(rank)]
        variables[name] = (["seed", *axes, *own], values.reshape(len(seeds), *sizes, *values.shape[2:]))
    coords = {"seed": list(seeds), **axes}
    for dim, given in study.coords.items():
        # along an axis of sizes the longest point's values serve all: the shorter ones are padded
        if not any(dim in dims for dims, _ in variables.values()):
            continue
        coords[dim] = max((list(given(p)) for p in grid), key=len) if callable(given) else list(given)
    try:
        return xr.Dataset(variables, coords)
    except ValueError as error:
        raise InputError(f"dims or coords do not fit the measurements: {error}") from None


def _pad(parts: list[np.ndarray]) -> list[np.ndarray]:
    """Arrays of one shape: shorter ones are filled up with NaN."""
    if len({p.shape for p in parts}) == 1:
        return parts
    shape = np.max([p.shape for p in parts], axis=0)
    out = []
    for part in parts:
        full = np.full(shape, np.nan, np.result_type(part.dtype, np.float32))
        full[tuple(slice(n) for n in part.shape)] = part
        out.append(full)
    return out


def _where(study: Study) -> str:
    if study.host:
        return "worker processes"
    found = jax.local_devices()
    return f"{len(found)} {found[0].platform}"


def _explain(study: Study, groups: list[Group]) -> list[str]:
    lines = [f"{_where(study)}, {len(groups)} group(s) of runs"]
    for group in groups:
        size = f", {group.size.working / 1024:.0f} KiB touched by a run's operations" if group.size else ""
        programs = f", {len(group.programs)} program(s) in chunks of {group.chunk}" if group.chunk else ""
        lines.append(
            f"  {len(group.seeds)} runs, {len(group.todo)} to compute{programs}{size}"
            f", compiled in {group.compile_seconds:.1f} s ({group.settings or 'no static settings'})"
        )
    return lines


def _failures(study: Study, failed: list[Failed], total: int) -> str:
    first = failed[0]
    words = (
        str(first.error)
        if isinstance(first.error, RunError)
        else backend.failure(study, first.error, first.group.settings)
    )
    lost = sum(len(f.runs) for f in failed)
    return f"{lost} of {total} runs failed, the others are kept; first: {words}"


def _use_compile_cache() -> None:
    """Keep compiled programs on disk, unless the user has said where or whether."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(home() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
