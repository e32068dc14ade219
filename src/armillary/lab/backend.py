"""Where chunks of runs are computed: one program and one queue a device, or worker processes.

A group of runs shares its static settings and so its program. A free device takes a group that nobody has
started; where there is none it helps with another device's group, if what is left there takes longer than
compiling the program once more. (One `shard_map` over all devices deadlocks on CPUs where a batched
eigendecomposition follows a loop.)
"""

import json
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import SingleDeviceSharding

from armillary.lab.errors import InputError, RunError
from armillary.lab.plan import Footprint, Plan, chunk_size, footprint
from armillary.lab.study import COLUMNS, Study
from armillary.lab.threads import one_thread_each

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
    """One chunk that died twice."""

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
            _trace(fresh, self.places, self.plan)
            with self.turn:
                fresh.state = "ready"
                self.turn.notify_all()
        return None

    def _ready(self, place: jax.Device, *, helping: bool) -> Group | None:
        ready = [g for g in self.groups if g.state == "ready" and g.chunks]
        own = next((g for g in ready if place in g.on), None)
        if own is not None or not helping:
            return own
        return next((g for g in ready if _worthwhile(g)), None)

    def _compute(self, place: jax.Device, group: Group, runs: list[int]) -> None:
        with jax.enable_x64(group.study.x64):
            if place not in group.programs:
                self.notify("compile", group=group)
                start = time.perf_counter()
                group.programs[place] = _program(group, place)
                group.compile_seconds = time.perf_counter() - start
                self.notify("compiled", group=group, seconds=group.compile_seconds)
            for attempt in (1, 2):
                start = time.perf_counter()
                try:
                    outputs = self._call(place, group, runs)
                    break
                except Exception as error:
                    if attempt == 2:
                        self.results.put(Failed(group, runs, error))
                        return
        group.chunk_seconds = time.perf_counter() - start
        self.results.put(Done(group, runs, outputs, group.chunk_seconds))

    def _call(self, place: jax.Device, group: Group, runs: list[int]) -> Outputs:
        lanes = runs + runs[-1:] * (
            group.chunk - len(runs)
        )  # the program's width is fixed: pad the last chunk
        own = jax.device_put((group.seeds[lanes], group.floats[lanes]), place)
        shared = tuple(self._input(x, place) for x in (group.data, group.base))
        out = jax.device_get(group.programs[place](*own, *shared))
        return {name: np.asarray(value)[: len(runs)] for name, value in out.items()}

    def _input(self, value: Any, place: jax.Device) -> Any:
        if (id(value), place) not in self.inputs:
            self.inputs[id(value), place] = jax.device_put(value, place)
        return self.inputs[id(value), place]


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


def _trace(group: Group, places: list[jax.Device], plan: Plan) -> None:
    """Trace the experiment once for the group, and cut its runs into chunks."""
    with jax.enable_x64(group.study.x64):
        closed, _ = _traced(group)
    own = len(jax.tree.leaves(closed.in_avals)) - len(jax.tree.leaves((group.data, group.base)))
    batched = [i < own for i in range(len(closed.in_avals))]
    group.size = footprint(closed, batched)
    group.chunk = chunk_size(len(group.seeds), places, group.size, plan)
    group.chunks = deque(group.todo[i : i + group.chunk] for i in range(0, len(group.todo), group.chunk))


def _traced(group: Group) -> tuple[core.ClosedJaxpr, tuple[str, ...]]:
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

    return _traces.get_or(_key(group), make)


def shapes(group: Group) -> dict[str, jax.ShapeDtypeStruct]:
    """The shapes of one run's measurements."""
    with jax.enable_x64(group.study.x64):
        closed, names = _traced(group)
    return {n: jax.ShapeDtypeStruct(a.shape, a.dtype) for n, a in zip(names, closed.out_avals)}


def _program(group: Group, place: jax.Device) -> Any:
    """The compiled program of a group on a device."""
    closed, names = _traced(group)

    def run(seed: Any, floats: Any, data: Any, base: Any) -> dict[str, Any]:
        leaves = jax.tree.leaves((data, base))
        return dict(zip(names, core.jaxpr_as_fun(closed)(seed, floats, *leaves)))

    def lanes(seeds: Any, floats: Any, data: Any, base: Any) -> dict[str, Any]:
        if group.chunk > 1:
            return jax.vmap(run, in_axes=(0, 0, None, None))(seeds, floats, data, base)
        return jax.tree.map(lambda x: x[None], run(seeds[0], floats[0], data, base))

    def make() -> Any:
        here = SingleDeviceSharding(place)
        floats = jax.ShapeDtypeStruct((group.chunk, len(group.names)), _float_dtype(group.study))
        seeds = jax.ShapeDtypeStruct((group.chunk,), np.uint32)
        jitted = jax.jit(lanes, in_shardings=here, out_shardings=here)
        return jitted.lower(seeds, floats, _structs(group.data), _structs(group.base)).compile()

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


def failure(study: Study, error: BaseException, settings: str) -> str:
    """One line: what failed, where in the study's file, with which settings."""
    import inspect
    import traceback

    file = inspect.getsourcefile(study.experiment)
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    place = f"{file}, line {frames[-1].lineno}: " if frames else ""
    words = str(error).strip().splitlines()
    return f"{place}{type(error).__name__}: {words[0] if words else ''} (settings: {settings or 'defaults'})"
