"""Where chunks of runs are computed: one program and one queue a device, or worker processes.

A group of runs shares its static settings and so its program. A free device takes a group that nobody has
started; where there is none it helps with another device's group, if what is left there takes longer than
compiling the program once more. (One `shard_map` over all devices deadlocks on CPUs where a batched
eigendecomposition follows a loop.) No more chunks run at once than memory has room for, and a run that fails
costs itself alone.
"""

import json
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import SingleDeviceSharding

from armillary.lab.errors import InputError, RunError, TooLarge
from armillary.lab.plan import (
    Footprint,
    Plan,
    at_least,
    chunk_size,
    footprint,
    in_words,
    most_resident,
    physical,
    resident,
    room,
    trim,
)
from armillary.lab.study import COLUMNS, Study
from armillary.lab.threads import one_thread_each

MATTERS = 100 << 20
"""Chunks that seem to take more bytes than this are compiled and measured before they are planned."""
OPTIONS: dict[str, dict[str, Any]] = {"cpu": {"xla_backend_optimization_level": 1}}
"""How programs are compiled: on a CPU, LLVM's first level takes half the time of its third and runs as fast."""
Outputs = dict[str, np.ndarray]
Notify = Callable[..., None]


@dataclass(eq=False)
class Group:
    """Runs that one program serves."""

    study: Study
    static: dict[str, Any]
    names: tuple[str, ...]
    """The traced settings, in the order of the columns of `floats`."""
    seeds: np.ndarray
    floats: np.ndarray
    todo: list[int]
    """Which of the runs are still to be computed."""
    data: Any = None
    base: Any = None
    label: str = ""

    state: str = "new"
    chunk: int = 0
    size: Footprint | None = None
    need: int = 0
    """Bytes that a chunk takes while it runs."""
    expected: int = 0
    """Bytes that this process was expected to reach at most, before the first chunk ran."""
    chunks: deque[list[int]] = field(default_factory=deque)
    programs: dict[jax.Device, Any] = field(default_factory=dict)
    on: set[jax.Device] = field(default_factory=set)
    compile_seconds: float = 0.0
    chunk_seconds: float | None = None

    @property
    def settings(self) -> str:
        """The static settings in words."""
        return ", ".join(f"{k}={v}" for k, v in self.static.items())


@dataclass(frozen=True)
class Done:
    """One finished chunk: which runs, their measurements (runs first), and how long it took."""

    group: Group
    runs: list[int]
    outputs: Outputs
    seconds: float


@dataclass(frozen=True)
class Failed:
    """Runs that failed twice."""

    group: Group
    runs: list[int]
    error: BaseException


class _Cache(OrderedDict[Any, Any]):
    """Programs of this process; the least recently used go first."""

    def get_or(self, key: Any, make: Callable[[], Any], size: int = 64) -> Any:
        if key in self:
            self.move_to_end(key)
        else:
            self[key] = make()
            while len(self) > size:
                self.popitem(last=False)
        return self[key]


_traces = _Cache()
_programs = _Cache()


def execute(
    groups: list[Group], places: list[jax.Device], plan: Plan, notify: Notify, finished: "queue.Queue[Any]"
) -> Iterator[Done | Failed]:
    """Compute every group's runs; yields chunks as they end, in whichever order they do.

    Whoever is interrupted finds in `finished` what ended and was not yet yielded.
    """
    crew = _Crew(groups, places, plan, notify, finished)
    threads = [
        threading.Thread(target=crew.work, args=(p,), daemon=True, name=f"armillary {p}") for p in places
    ]
    with one_thread_each(places):
        for thread in threads:
            thread.start()
        try:
            yield from collect(len(threads), finished)
        finally:
            crew.stop = True


def collect(workers: int, finished: "queue.Queue[Any]") -> Iterator[Any]:
    """What so many threads put into a queue until each has put None; an exception among it is raised."""
    while workers:
        try:
            result = finished.get(timeout=1.0)  # a wait without a limit would not hear Ctrl-C
        except queue.Empty:
            continue
        if result is None:
            workers -= 1
        elif isinstance(result, BaseException):
            raise result
        else:
            yield result


class _Crew:
    """The devices at work on the groups."""

    def __init__(
        self,
        groups: list[Group],
        places: list[jax.Device],
        plan: Plan,
        notify: Notify,
        finished: "queue.Queue[Any]",
    ):
        self.groups, self.places, self.plan, self.notify, self.results = (
            groups,
            places,
            plan,
            notify,
            finished,
        )
        self.turn = threading.Condition()
        self.stop = False
        self.inputs: dict[tuple[int, jax.Device], Any] = {}
        self.results_bytes = 0
        self.room = room(places[0], plan)
        self.used = 0
        self.compiling = 0
        """Bytes that compiling once more is expected to take for a while."""

    def work(self, place: jax.Device) -> None:
        try:
            while not self.stop and (job := self._next(place)) is not None:
                self._compute(place, *job)
        except BaseException as error:
            self.results.put(error)
            self.stop = True
            with self.turn:
                self.turn.notify_all()
        finally:
            self.results.put(None)

    def _next(self, place: jax.Device) -> tuple[Group, list[int]] | None:
        """A chunk for this device; None when nothing is left that is worth starting."""
        while not self.stop:
            with self.turn:
                fresh = next((g for g in self.groups if g.state == "new"), None)
                group = self._ready(place, helping=fresh is None)
                if group is not None:
                    group.on.add(place)
                    return group, group.chunks.popleft()
                if fresh is None:
                    if not any(g.state == "tracing" for g in self.groups):
                        return None
                    self.turn.wait()
                    continue
                fresh.state = "tracing"
                fresh.on.add(place)
            try:
                self._prepare(fresh, place)
                if self.plan.memory and fresh.chunks:  # before others join: what does a chunk really take?
                    before, most = resident(), most_resident()
                    self._compute(place, fresh, fresh.chunks.popleft())
                    if most_resident() > most:
                        fresh.need = max(fresh.need, most_resident() - before)
            except (
                RunError,
                TooLarge,
            ) as error:  # this group's alone; another InputError would be every group's
                self.results.put(Failed(fresh, fresh.todo, error))
            with self.turn:
                fresh.state = "ready"
                self.turn.notify_all()
        return None

    def _ready(self, place: jax.Device, *, helping: bool) -> Group | None:
        ready = [g for g in self.groups if g.state == "ready" and g.chunks]
        own = next((g for g in ready if place in g.on), None)
        if own is not None or not helping:
            return own
        return next((g for g in ready if _worthwhile(g) and self._affords(g)), None)

    def _affords(self, group: Group) -> bool:
        """Whether one more device may compile this group's program, if there is a cap on memory."""
        return self.plan.memory is None or self.compiling + group.need <= self.room

    def _prepare(self, group: Group, place: jax.Device) -> None:
        """Choose the group's chunk, and cut its runs into chunks.

        Where memory matters the program is compiled first: only then is known what it takes.

        **Raises:** `RunError` if the experiment cannot be traced; `TooLarge` if not one run of it fits.
        """
        size = trace(group)
        group.chunk = chunk_size(
            len(group.seeds), len(self.places), place.platform, size, self._share(), self.plan
        )
        group.need = group.chunk * (size.peak + size.outputs)
        with self.turn:
            self.results_bytes += 2 * size.outputs * len(group.seeds)  # as they come, and as a data set
        if self.plan.memory or group.need > min(self._share() // 4, MATTERS):
            self._fit(group, place)
        at_once = max(
            1, min(len(self.places), len(group.seeds) // group.chunk, self.room // max(1, group.need))
        )
        joins = self.compiling if len(self.places) > 1 and self._affords(group) else 0
        more = max(group.need * at_once, group.need + joins)  # others compile while one runs
        group.expected = max(most_resident(), resident() + self.results_bytes + more)
        group.chunks = cut(group)

    def _share(self) -> int:
        """Bytes that one device may take."""
        return self.room // len(self.places) if self.places[0].platform == "cpu" else self.room

    def _fit(self, group: Group, place: jax.Device) -> None:
        """Compile the group's program, with smaller chunks until it fits."""
        while True:
            before = resident()
            self._compile(group, place)
            group.need = _takes(group.programs[place]) or group.need
            with self.turn:
                self.compiling = max(self.compiling, most_resident() - before)
                if place.platform == "cpu" and not self.used:
                    self.room = room(place, self.plan) - self.results_bytes
            if group.need <= self._share() or self.plan.chunk:
                break
            if group.chunk == 1:
                most = self.room if self.plan.memory else physical()
                if group.need <= most:
                    break  # one device at a time
                raise self._too_large(group)
            group.programs.clear()
            group.chunk = max(1, min(group.chunk - 1, group.chunk * self._share() // group.need))
        if self.plan.memory and most_resident() > self.plan.memory:
            words = (
                f"compiling took {in_words(most_resident())}, more than --memory {in_words(self.plan.memory)}"
            )
            self.notify("note", words=words)

    def _too_large(self, group: Group) -> TooLarge:
        one = f"one run takes about {in_words(group.need)} (settings: {group.settings or 'defaults'})"
        if self.plan.memory is None:
            return TooLarge(f"{one}, and this machine has {in_words(physical())}; choose smaller settings")
        now = resident() + self.results_bytes
        least = now + group.need
        hint = f"expected {at_least(least)} or more" if least < physical() else "choose smaller settings"
        return TooLarge(
            f"--memory {in_words(self.plan.memory)}: {one}, and armillary itself {in_words(now)}; {hint}"
        )

    def _compile(self, group: Group, place: jax.Device) -> None:
        self.notify("compile", group=group)
        start = time.perf_counter()
        try:
            with jax.enable_x64(group.study.x64):
                group.programs[place] = program(group, place)
        except Exception as error:
            raise RunError(failure(group.study, error, group.settings)) from error
        finally:
            group.compile_seconds = time.perf_counter() - start
            self.notify("compiled", group=group, seconds=group.compile_seconds)

    def _compute(self, place: jax.Device, group: Group, runs: list[int]) -> None:
        if place not in group.programs:
            try:
                with self._holding(self.compiling if self.plan.memory else 0):
                    self._compile(group, place)
            except RunError as error:
                with self.turn:
                    rest = [run for chunk in group.chunks for run in chunk]
                    group.chunks.clear()
                self.results.put(Failed(group, runs + rest, error))
                return
        with self._holding(group.need):
            with jax.enable_x64(group.study.x64):
                shared = self._input(group.data, place), self._input(group.base, place)
            for result in attempt(group, runs, lambda some: call(group, place, some, shared)):
                if isinstance(result, Done):
                    group.chunk_seconds = result.seconds
                self.results.put(result)

    @contextmanager
    def _holding(self, need: int) -> Iterator[None]:
        """Wait until there is room for so many bytes more, and hold them; alone, one goes on in any case."""
        with self.turn:
            while self.places[0].platform == "cpu" and self.used and self.used + need > self.room:
                self.turn.wait()
            self.used += need
        try:
            yield
        finally:
            with self.turn:
                self.used -= need
                self.turn.notify_all()

    def _input(self, value: Any, place: jax.Device) -> Any:
        if (id(value), place) not in self.inputs:
            self.inputs[id(value), place] = jax.device_put(value, place)
        return self.inputs[id(value), place]


def cut(group: Group) -> deque[list[int]]:
    """The runs that are to be computed, chunk by chunk."""
    return deque(group.todo[i : i + group.chunk] for i in range(0, len(group.todo), group.chunk))


def call(group: Group, place: jax.Device, runs: list[int], shared: tuple[Any, Any]) -> Outputs:
    """The measurements of one chunk, by the group's compiled program."""
    lanes = runs + runs[-1:] * (group.chunk - len(runs))  # the program's width is fixed: pad the last chunk
    with jax.enable_x64(group.study.x64):
        own = jax.device_put((group.seeds[lanes], group.floats[lanes]), place)
        out = jax.device_get(group.programs[place](*own, *shared))
    return {name: np.asarray(value)[: len(runs)] for name, value in out.items()}


def attempt(
    group: Group, runs: list[int], compute: Callable[[list[int]], Outputs]
) -> Iterator[Done | Failed]:
    """A chunk's results: tried twice, then run by run, so that a run that fails costs itself alone."""
    for some in (runs, runs, *([run] for run in runs if len(runs) > 1)):
        start = time.perf_counter()
        try:
            outputs = compute(some)
        except Exception as error:
            last: Exception = error
            if len(some) == 1 and len(runs) > 1:
                yield Failed(group, some, error)
            continue
        yield Done(group, some, outputs, time.perf_counter() - start)
        if some is runs:
            return
    if len(runs) == 1:
        yield Failed(group, runs, last)


def on_this_device(group: Group) -> Callable[[list[int]], Outputs]:
    """What computes a chunk of the group on this process's first device.

    **Raises:** `RunError` if the program cannot be compiled.
    """
    place = jax.local_devices()[0]
    start = time.perf_counter()
    try:
        with jax.enable_x64(group.study.x64):
            group.programs[place] = program(group, place)
            shared = jax.device_put((group.data, group.base), place)
    except (InputError, RunError):
        raise
    except Exception as error:
        raise RunError(failure(group.study, error, group.settings)) from error
    group.compile_seconds = time.perf_counter() - start
    return lambda runs: call(group, place, runs, shared)


def _takes(compiled: Any) -> int:
    """Bytes that a compiled program takes while it runs, beside the inputs that all chunks share.

    On a CPU XLA does not count what its matrix products pack aside, up to 0.7 of the rest where we looked; that
    much is added.
    """
    try:
        found = compiled.memory_analysis()
        return int(1.7 * found.temp_size_in_bytes + 2 * found.output_size_in_bytes)  # outputs are copied
    except Exception:
        return 0


def _worthwhile(group: Group) -> bool:
    """Whether one more device should compile this group's program."""
    if not group.on or group.chunk_seconds is None:
        return True  # idle otherwise: compile side by side
    return len(group.chunks) * group.chunk_seconds / (len(group.on) + 1) > group.compile_seconds


def _float_dtype(study: Study) -> type:
    return np.float64 if study.x64 else np.float32


def _structs(value: Any) -> Any:
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(np.shape(x), jax.dtypes.canonicalize_dtype(x.dtype)), value
    )


def _key(group: Group) -> tuple[Any, ...]:
    shapes = [(str(s.dtype), s.shape) for s in jax.tree.leaves(_structs((group.data, group.base)))]
    structure = jax.tree.structure((group.data, group.base))
    static = json.dumps(group.static, sort_keys=True, default=repr)
    return group.study.experiment, static, group.names, group.study.x64, structure, str(shapes)


def trace(group: Group) -> Footprint:
    """Trace the experiment once for the group: what one run touches and returns.

    **Raises:** `RunError` if the experiment fails; `InputError` if it returns what it may not.
    """
    closed, _ = traced(group)
    own = len(jax.tree.leaves(closed.in_avals)) - len(jax.tree.leaves((group.data, group.base)))
    group.size = footprint(closed, [i < own for i in range(len(closed.in_avals))])
    return group.size


def traced(group: Group) -> tuple[core.ClosedJaxpr, tuple[str, ...]]:
    """One run of the group as a program, and the names of what it returns.

    **Raises:** as `trace`.
    """
    study = group.study

    def run(seed: Any, floats: Any, data: Any, base: Any) -> dict[str, Any]:
        given = [x for x, loader in ((data, study.data), (base, study.base)) if loader is not None]
        traced = {name: floats[i] for i, name in enumerate(group.names)}
        out = study.experiment(jax.random.key(seed), *given, **group.static, **traced)
        return {name: jnp.asarray(value) for name, value in check_outputs(study, out).items()}

    def make() -> tuple[core.ClosedJaxpr, tuple[str, ...]]:
        floats = jax.ShapeDtypeStruct((len(group.names),), _float_dtype(study))
        seed = jax.ShapeDtypeStruct((), np.uint32)
        try:
            closed, shapes = jax.make_jaxpr(run, return_shape=True)(
                seed, floats, _structs(group.data), _structs(group.base)
            )
        except (InputError, RunError):
            raise
        except Exception as error:
            raise RunError(failure(study, error, group.settings)) from error
        return closed, tuple(sorted(shapes))

    with jax.enable_x64(study.x64), jax.default_matmul_precision("float32"):  # a GPU's default keeps 10 bits
        return _traces.get_or(_key(group), make)


def shapes(group: Group) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of one run's measurements."""
    closed, names = traced(group)
    return {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in zip(names, closed.out_avals)}


def program(group: Group, place: jax.Device) -> Any:
    """The compiled program of a group on a device."""
    closed, names = traced(group)

    def run(seed: Any, floats: Any, data: Any, base: Any) -> dict[str, Any]:
        leaves = jax.tree.leaves((data, base))
        return dict(zip(names, core.jaxpr_as_fun(closed)(seed, floats, *leaves)))

    def lanes(seeds: Any, floats: Any, data: Any, base: Any) -> dict[str, Any]:
        if group.chunk > 1:
            return jax.vmap(run, in_axes=(0, 0, None, None))(seeds, floats, data, base)
        return jax.tree.map(lambda x: jnp.asarray(x)[None], run(seeds[0], floats[0], data, base))

    def make() -> Any:
        here = SingleDeviceSharding(place)
        floats = jax.ShapeDtypeStruct((group.chunk, len(group.names)), _float_dtype(group.study))
        seeds = jax.ShapeDtypeStruct((group.chunk,), np.uint32)
        jitted = jax.jit(lanes, in_shardings=here, out_shardings=here)
        lowered = jitted.lower(seeds, floats, _structs(group.data), _structs(group.base))
        try:
            return lowered.compile(OPTIONS.get(place.platform))
        finally:
            trim()

    return _programs.get_or((*_key(group), group.chunk, place), make)


def check_outputs(study: Study, out: Any) -> dict[str, Any]:
    """What an experiment returned, if its names are free.

    **Raises:** `InputError` if it is no dictionary, or a name is a setting's, a dimension's or a column's.
    """
    if not isinstance(out, dict) or not out:
        raise InputError(f"the experiment must return a dictionary of measurements, not {type(out).__name__}")
    dims = {d for names in study.dims.values() for d in names}
    for name in out:
        if name in study.defaults or name in dims or name in COLUMNS or name == "seed":
            kind = (
                "setting"
                if name in study.defaults
                else "dimension"
                if name in dims
                else "column of the store"
            )
            raise InputError(f"measurement {name!r} bears the name of a {kind}; rename it")
    return out


def words(failed: Failed) -> str:
    """One line: what failed, where in the study's file, with which settings."""
    group, error = failed.group, failed.error
    if isinstance(error, RunError | TooLarge):
        return str(error)
    settings = [group.settings] if group.settings else []
    if len(failed.runs) == 1:
        run = failed.runs[0]
        settings += [f"{name}={value:g}" for name, value in zip(group.names, group.floats[run])]
        settings.append(f"seed {group.seeds[run]}")
    return failure(group.study, error, ", ".join(settings))


def failure(study: Study, error: BaseException, settings: str) -> str:
    """One line: what failed, where in the study's file, with which settings."""
    import inspect
    import traceback

    file = inspect.getsourcefile(study.experiment)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    place = f"{file}, line {frames[-1].lineno}: " if frames else ""
    lines = str(error).strip().splitlines() or [""]
    told = lines[-1 if "Traceback" in lines[0] else 0]  # a callback's error comes with its traceback
    return f"{place}{type(error).__name__}: {told} (settings: {settings or 'defaults'})"
