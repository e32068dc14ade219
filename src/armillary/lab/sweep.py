"""Experiment × settings × seeds → labelled data: planned in groups, computed once, kept in the store."""

import inspect
import json
import math
import os
import queue
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import xarray as xr

from armillary.lab import backend, fingerprint, host, inputs, record, settings
from armillary.lab.backend import Done, Failed, Group, Notify
from armillary.lab.catalogue import Entry
from armillary.lab.errors import InputError, RunError, TooLarge
from armillary.lab.forecast import SPEED, Forecast, pace
from armillary.lab.plan import Plan, devices, in_words
from armillary.lab.settings import Settings
from armillary.lab.store import Store, home, rows
from armillary.lab.study import Study

MAX_SEEDS = 1_000_000
MAX_RUNS = 10_000_000
"""Of one sweep: their settings are held in memory."""


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
    memory: int
    """Bytes that this process was expected to reach at most, before the first chunk ran; 0 if that is not known."""
    plan: list[str] = field(default_factory=list)
    """In words: devices, groups, chunks, programs."""


def silent(event: str, **_: Any) -> None:
    """The listener that says nothing."""


def seed_numbers(study: Study, count: int | None = None, first: int = 0) -> list[int]:
    """The seeds of a run: `count` of them from `first` on, without those on which a pilot was seen."""
    count = study.seeds if count is None else count
    if not 1 <= count <= MAX_SEEDS:
        raise InputError(f"seeds={count}: expected 1 or more, and at most {MAX_SEEDS}")
    if not 0 <= first < 2**31:
        raise InputError(f"first seed {first}: expected 0 or more, and less than {2**31}")
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

    **Raises:** `RunError` if an experiment or a chunk fails, after the rest was computed and kept; `TooLarge` if
    nothing was run, since not one run fits into memory;
    `Interrupted` on Ctrl-C, likewise.
    """
    start = time.perf_counter()
    plan = plan or Plan()
    study = entry.study
    _check_plan(study, plan)
    store = store or Store()
    store.check()
    code = code_of(entry)
    use_compile_cache()
    count = len(seeds) * sum(math.prod(len(v) for v in settings.axes_of(a).values()) for a in arms.values())
    if count > MAX_RUNS:
        raise InputError(
            f"{count} runs: expected at most {MAX_RUNS} in one sweep; give fewer values or seeds"
        )
    groups, places, failed = _plan(study, code, arms, seeds)
    hashes = {id(g): _run_hashes(g, code, key) for key, g in groups.items()}
    total = sum(len(g.seeds) for g in groups.values())
    results = {id(g): _Results(len(g.seeds)) for g in groups.values()}
    if not fresh:
        _reuse(entry, code, store, groups.values(), hashes, results)
    work = [g for g in groups.values() if g.todo]
    reused = total - sum(len(g.todo) for g in work) - sum(len(f.runs) for f in failed)
    notify("start", total=total, reused=reused, slug=entry.slug)
    run_seconds, done = 0.0, reused
    where = _where(study, plan)
    forecast = Forecast(
        work,
        _places(study, plan),
        (lambda: _speed(entry)) if where.endswith("cpu") else None,
        lambda seconds: notify("forecast", seconds=seconds),
        counted=not study.host,
    )

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
            plan=f"{where} chunk {group.chunk}",
        )
        store.append(entry.slug, code, frame)

    finished: queue.Queue[Any] = queue.Queue()
    held: Done | None = None
    try:
        with closing(_execute(entry, code, work, plan, notify, finished)) as ended:
            for result in ended:
                if isinstance(result, Failed):
                    failed.append(result)
                    continue
                held = result
                keep(result)
                held = None
                run_seconds += result.seconds
                done += len(result.runs)
                notify("chunk", done=done, total=total, left=forecast.take(result))
    except KeyboardInterrupt:
        for result in [held, *finished.queue]:
            if isinstance(result, Done):
                keep(result)
                done += len(result.runs)
        raise Interrupted(done, total) from None
    except InputError as error:
        raise InputError(f"{error} ({done} of {total} runs are kept)" if done else str(error)) from None
    finally:
        forecast.close()
        notify("end")
        store.settle(entry.slug, code)
    if failed and done == reused and all(isinstance(f.error, TooLarge) for f in failed):
        raise TooLarge(str(failed[0].error))
    if failed:
        raise RunError(_failures(failed, total))
    measured = {name for r in results.values() for name in r.arrays}
    # One arm alone need not measure all that the study names.
    every = any(set(names) <= set(arms) for names in (study.arms, study.full.get("arms", study.arms)))
    if every and (unknown := sorted(set(study.dims) - measured)):
        raise InputError(f"dims: no measurement {unknown[0]!r}; there are {', '.join(sorted(measured))}")
    data = {name: _dataset(study, arm, seeds, places[name], results) for name, arm in arms.items()}
    return Swept(
        data,
        seconds=time.perf_counter() - start,
        compile_seconds=sum(g.compile_seconds for g in work),
        run_seconds=run_seconds,
        computed=total - reused,
        reused=reused,
        memory=max((g.expected for g in work), default=0),
        plan=_explain(where, plan, list(groups.values())),
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


def _check_plan(study: Study, plan: Plan) -> None:
    """Raise `InputError` for what does not go together, whether or not there is something to compute."""
    if plan.ray is not None:
        from armillary.lab import cluster

        cluster.check_address(plan)
    elif plan.in_flight is not None:
        raise InputError("--max-in-flight is for --ray; here a device computes one chunk at a time")
    elif study.host and plan.memory is not None:
        raise InputError(
            "--memory: what a host study's worker processes take is not known; --devices limits their number"
        )


def _execute(
    entry: Entry, code: str, work: list[Group], plan: Plan, notify: Notify, finished: "queue.Queue[Any]"
) -> Generator[Done | Failed]:
    if not work:
        return
    if plan.ray is not None:
        from armillary.lab import cluster

        yield from cluster.execute(work, _file(entry, "ray"), code, plan, notify, finished)
        return
    if not entry.study.host:
        yield from backend.execute(work, devices(plan), plan, notify, finished)
        return
    file = _file(entry, "a host study")
    yield from host.execute(work, entry.slug if entry.row else str(file.path), code, plan, notify, finished)


def _file(entry: Entry, who: str) -> Entry:
    """The entry, if a worker process that opens its file finds this study there."""
    if entry.path is None:
        raise InputError(
            f"{who} runs in worker processes, which need the study's file; save it and give its path"
        )
    module = inspect.getmodule(entry.study.experiment)
    if entry.row is None and getattr(module, "study", None) is not entry.study:
        raise InputError(
            f"{who} runs in worker processes, which take `study` from {entry.path}; that is another study"
        )
    return entry


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
) -> tuple[dict[str, Group], dict[str, list[Place]], list[Failed]]:
    """The groups of runs, each arm's points in them, and the runs whose data or base model failed.

    Arms with equal points share their runs.
    """
    members: dict[str, dict[tuple[float, ...], int]] = {}
    groups: dict[str, Group] = {}
    where: dict[str, list[tuple[str, int]]] = {}
    broken: dict[str, RunError] = {}
    for arm, chosen in arms.items():
        where[arm] = []
        for point in settings.points(chosen)[1]:
            traced, static = settings.split(point)
            given = [inputs.named(f, point) for f in (study.data, study.base)]
            key = json.dumps([static, sorted(traced), given], sort_keys=True, default=repr)
            if key not in groups:
                empty = np.empty(0)
                group = groups[key] = Group(study, static, tuple(sorted(traced)), empty, empty, [])
                try:
                    group.data, data_hash = inputs.load(study, point)
                    group.base, base_hash = inputs.base(study, point, group.data, code, data_hash)
                    group.label = f"{data_hash}{base_hash}"
                except RunError as error:
                    broken[key] = error
            values = tuple(traced[name] for name in groups[key].names)
            index = members.setdefault(key, {}).setdefault(values, len(members[key]))
            where[arm].append((key, index))
    count = len(seeds)
    for key, group in groups.items():
        floats = np.array(list(members[key]), np.float64).reshape(len(members[key]), len(group.names))
        group.seeds = np.tile(np.asarray(seeds, np.uint32), len(floats))
        group.floats = np.repeat(floats, count, axis=0)
        group.todo = [] if key in broken else list(range(len(group.seeds)))
    failed = [Failed(groups[k], list(range(len(groups[k].seeds))), error) for k, error in broken.items()]
    return groups, {a: [(id(groups[k]), i * count) for k, i in at] for a, at in where.items()}, failed


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
    groups: Iterable[Group],
    hashes: dict[int, list[str]],
    results: dict[int, _Results],
) -> None:
    """Take from the store what it has, and leave the rest to do."""
    of = {h: (group, run) for group in groups for run, h in enumerate(hashes[id(group)]) if group.todo}
    found: dict[int, set[int]] = {}
    for block in store.blocks(entry.slug, code, of):
        at: dict[int, tuple[Group, list[int], list[int]]] = {}
        for row, name in enumerate(block.table["run"].to_list()):
            group, run = of[name]
            _, runs, rows_ = at.setdefault(id(group), (group, [], []))
            runs.append(run)
            rows_.append(row)
        for key, (_, runs, rows_) in at.items():
            results[key].put(runs, {name: values[rows_] for name, values in block.arrays.items()})
            found.setdefault(key, set()).update(runs)
    for group in {id(g): g for g, _ in of.values()}.values():
        group.todo = [run for run in group.todo if run not in found.get(id(group), ())]


def stored(study: Study, slug: str, code: str, store: Store) -> xr.Dataset | None:
    """What a store has of a study's code: one row a run, in the order of computing; None if that is nothing."""
    blocks = store.blocks(slug, code)
    if not blocks:
        return None
    variables = {}
    for name in dict.fromkeys(name for block in blocks for name in block.arrays):
        known = next(b.arrays[name] for b in blocks if name in b.arrays)
        absent = np.full((1,) * known.ndim, np.nan, np.result_type(known.dtype, np.float32))
        parts = [
            b.arrays[name] if name in b.arrays else np.repeat(absent, len(b.table), axis=0) for b in blocks
        ]
        own = list(study.dims.get(name, [f"{name}_{i}" for i in range(known.ndim - 1)]))
        variables[name] = (["run", *own], _join(parts))
    coords = {
        name: ("run", _coordinate([v for b in blocks for v in b.table[name].to_list()]))
        for name in ("run", "seed", *study.defaults)
    }
    return xr.Dataset(variables, coords, {"study": slug})


def _join(parts: list[np.ndarray]) -> np.ndarray:
    """Arrays one after the other, shorter ones filled up with NaN."""
    if len({p.shape[1:] for p in parts}) == 1:
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    own = np.max([p.shape[1:] for p in parts], axis=0)
    return np.concatenate([_fill(p, (len(p), *own)) for p in parts])


def _coordinate(values: list[Any]) -> Any:
    """One coordinate value a run; a setting of several numbers stays one value, a tuple."""
    if not any(isinstance(v, list) for v in values):
        return values
    column = np.empty(len(values), object)
    column[:] = [tuple(v) for v in values]
    return column


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
    return [_fill(part, shape) for part in parts]


def _fill(part: np.ndarray, shape: Any) -> np.ndarray:
    full = np.full(shape, np.nan, np.result_type(part.dtype, np.float32))
    full[tuple(slice(n) for n in part.shape)] = part
    return full


def _where(study: Study, plan: Plan) -> str:
    if plan.ray is not None:
        return "ray"
    if study.host:
        return "worker processes"
    found = devices(plan)
    return f"{len(found)} {found[0].platform}"


def _places(study: Study, plan: Plan) -> int | None:
    """How many runs or chunks are computed side by side; None: it may change."""
    if plan.ray is not None:
        return None
    return (plan.devices or len(os.sched_getaffinity(0))) if study.host else len(devices(plan))


def _speed(entry: Entry) -> float:
    """Operations a second of a device: what the study's record reached at quick scale, on its own machine."""
    past = record.latest(entry)
    if past is None or entry.study.base is not None:  # another scale's base model would have to be trained
        return SPEED
    groups, *_ = _plan(entry.study, "", settings.arms(entry.study), range(1))
    return pace(groups.values(), past.get("run_seconds") or 0.0, past["seeds"])


def _explain(where: str, plan: Plan, groups: list[Group]) -> list[str]:
    lines = [f"{where}, {len(groups)} group(s) of runs"]
    if expected := max((g.expected for g in groups), default=0):
        cap = f", of at most {in_words(plan.memory)}" if plan.memory else ""
        lines.append(f"about {in_words(expected)} of memory expected{cap}")
    for group in groups:
        size = f", {group.size.working / 1024:.0f} KiB touched by a run's operations" if group.size else ""
        programs = f", {len(group.programs)} program(s)" if group.programs else ""
        chunk = f" in chunks of {group.chunk}" if group.chunk else ""
        lines.append(
            f"  {len(group.seeds)} runs, {len(group.todo)} to compute{programs}{chunk}{size}"
            f", compiled in {group.compile_seconds:.1f} s ({group.settings or 'no static settings'})"
        )
    return lines


def _failures(failed: list[Failed], total: int) -> str:
    lost = sum(len(f.runs) for f in failed)
    return f"{lost} of {total} runs failed, the others are kept; first: {backend.words(failed[0])}"


def use_compile_cache() -> None:
    """Keep compiled programs on disk, unless the user has said where or whether."""
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(home() / "programs"))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)
