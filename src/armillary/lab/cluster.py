"""Many machines: the same chunks as Ray tasks, whose results come home into the same store.

A task carries everything that its worker needs beside an installed armillary: the user's own study file and what
it imports from beside it, the data, the base model. A worker computes the code's fingerprint itself and refuses
to answer for other code or other versions than those that the rows will be stored under. A task that is lost with
its worker or its node is handed out again; a chunk that keeps dying is handed out run by run.
"""

import atexit
import contextlib
import logging
import math
import os
import queue
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from armillary.lab import catalogue, fingerprint
from armillary.lab.catalogue import Entry
from armillary.lab.errors import InputError, RunError

if TYPE_CHECKING:
    from armillary.lab.backend import Done, Failed, Group, Notify
    from armillary.lab.plan import Plan
    from armillary.lab.study import Study

TRIES = 3
"""How often a chunk is handed out before it is taken apart, and a run before it is given up."""
ALONE_SECONDS = 60.0
"""How long to wait for a node when none is left."""


def execute(
    groups: "list[Group]",
    entry: Entry,
    code: str,
    plan: "Plan",
    notify: "Notify",
    finished: "queue.Queue[Any]",
) -> "Iterator[Done | Failed]":
    """Compute every group's runs as Ray tasks; yields chunks as they end, in whichever order they do.

    Whoever is interrupted finds in `finished` what ended and was not yet yielded.

    **Raises:** `InputError` without Ray, without the cluster, or if a worker has other code or versions.
    """
    with _connected(plan) as ray:
        crew = _Crew(ray, groups, parcel(entry, code), plan, notify)
        try:
            yield from crew.results()
        finally:
            crew.stop(finished)


@dataclass
class _Job:
    """A chunk and how often it was handed out."""

    group: "Group"
    runs: list[int]
    tries: int = 0


class _Crew:
    """The driver's side: which chunks are out, and what becomes of those that do not come back."""

    def __init__(
        self, ray: Any, groups: "list[Group]", study: dict[str, Any], plan: "Plan", notify: "Notify"
    ):
        self.ray, self.groups, self.study, self.plan, self.notify = ray, groups, study, plan, notify
        self.out: dict[Any, _Job] = {}
        self.shared: dict[tuple[int, int], Any] = {}
        self.again: deque[_Job] = deque()
        self.failed: deque[Failed] = deque()
        self.seen = -math.inf, 0, 0
        self.task = ray.remote(num_cpus=1, max_retries=0)(compute)

    def results(self) -> "Iterator[Done | Failed]":
        fresh = self._fresh()
        alone: float | None = None
        while True:
            yield from self._take(self.failed)
            nodes, slots = self._size()
            while len(self.out) < (self.plan.in_flight or 2 * max(1, slots)):
                job = self.again.popleft() if self.again else next(fresh, None)
                if job is None:
                    break
                self._hand_out(job)
            self.notify("nodes", nodes=nodes, out=len(self.out))
            if not self.out:
                yield from self._take(self.failed)
                return
            ready, _ = self.ray.wait(list(self.out), num_returns=1, timeout=1.0)
            if ready or slots:
                alone = None
            elif alone is None:
                alone = time.monotonic()
            elif time.monotonic() - alone > ALONE_SECONDS:
                raise RunError(f"no node of the Ray cluster is left; {len(self.out)} chunks were out")
            for ref in ready:
                found = list(self._bring_home(ref, self.out[ref]))
                del self.out[ref]
                yield from found

    @staticmethod
    def _take(some: "deque[Any]") -> "Iterator[Any]":
        while some:
            yield some.popleft()

    def _size(self) -> tuple[int, int]:
        """How many nodes compute, and how many chunks they can compute at once; asked for once a second."""
        if time.monotonic() > self.seen[0] + 1.0:
            found = [node["Resources"].get("CPU", 0) for node in self.ray.nodes() if node["Alive"]]
            self.seen = time.monotonic(), sum(cpus >= 1 for cpus in found), int(sum(found))
        return self.seen[1:]

    def _fresh(self) -> Iterator[_Job]:
        """The chunks, group by group, each group traced when its turn comes."""
        from armillary.lab import backend
        from armillary.lab.backend import Failed
        from armillary.lab.plan import chunk_size

        for group in self.groups:
            group.chunk = 1
            if not group.study.host:
                try:
                    size = backend.trace(group)
                except RunError as error:
                    self.failed.append(Failed(group, group.todo, error))
                    continue
                memory = self.plan.memory or self._memory()
                slots = max(1, self._size()[1])
                group.chunk = chunk_size(len(group.seeds), slots, "cpu", size, memory, self.plan)
            for runs in backend.cut(group):
                yield _Job(group, runs)

    def _memory(self) -> int:
        """What a worker may take: its share of the smallest node's memory."""
        nodes = [n["Resources"] for n in self.ray.nodes() if n["Alive"] and n["Resources"].get("CPU", 0) >= 1]
        return int(min((n.get("memory", 1 << 30) / n["CPU"] for n in nodes), default=1 << 30))

    def _hand_out(self, job: _Job) -> None:
        group = job.group
        key = id(group.data), id(group.base)
        if key not in self.shared:
            self.shared[key] = self.ray.put((group.data, group.base))
        job.tries += 1
        work = {
            "static": group.static,
            "names": group.names,
            "chunk": group.chunk,
            "seeds": group.seeds[job.runs],
            "floats": group.floats[job.runs],
        }
        self.out[self.task.remote(self.study, work, self.shared[key])] = job

    def _bring_home(self, ref: Any, job: _Job) -> "Iterator[Done | Failed]":
        from armillary.lab.backend import Done, Failed

        group, runs = job.group, job.runs
        try:
            answer = self.ray.get(ref)
        except self.ray.exceptions.RayTaskError as error:  # not lost, but it cannot even start
            raise RunError(f"a worker cannot compute: {str(error).strip().splitlines()[-1]}") from None
        except self.ray.exceptions.RayError as error:
            yield from self._lost(job, error)
            return
        if "refused" in answer:
            raise InputError(answer["refused"])
        group.compile_seconds += answer["compile_seconds"]
        for at, outputs, seconds in answer["done"]:
            yield Done(group, [runs[i] for i in at], outputs, seconds)
        for at, words in answer["failed"]:
            yield Failed(group, [runs[i] for i in at], RunError(words))

    def _lost(self, job: _Job, error: Exception) -> "Iterator[Failed]":
        from armillary.lab.backend import Failed

        what = (str(error).strip().splitlines() or [""])[0]
        words = f"a chunk of {len(job.runs)} runs was lost: {type(error).__name__}: {what}"
        if job.tries < TRIES:
            self.notify("note", words=f"{words} It goes elsewhere")
            self.again.append(job)
        elif len(job.runs) > 1:
            self.notify("note", words=f"{words} Its runs go one by one")
            self.again.extend(_Job(job.group, [run], TRIES - 2) for run in job.runs)
        else:
            settings = job.group.settings or "defaults"
            yield Failed(job.group, job.runs, RunError(f"{words} (settings: {settings}), {job.tries} times"))

    def stop(self, finished: "queue.Queue[Any]") -> None:
        """Bring home what has ended, and have the tasks that are still out stopped."""
        with contextlib.suppress(Exception):  # the cluster may be gone
            for ref in self.ray.wait(list(self.out), num_returns=len(self.out), timeout=0)[0]:
                for result in self._bring_home(ref, self.out.pop(ref)):
                    finished.put(result)
            for ref in self.out:
                self.ray.cancel(ref, force=True)


HEAD = """
import sys
import ray
cores = int(sys.argv[1])
options = {"logging_level": "ERROR", "log_to_driver": False, "include_dashboard": False}
print("at", ray.init("local", num_cpus=cores, **options).address_info["address"], flush=True)
sys.stdin.read()
"""
HEAD_SECONDS = 120.0
"""How long Ray may take to start on this machine."""


@contextlib.contextmanager
def _connected(plan: "Plan") -> Iterator[Any]:
    """Ray, connected; a connection that was there before stays."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if plan.ray == "local" and "ray" not in sys.modules:  # which reads these when it is imported
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise InputError("--ray needs Ray: pip install 'armillary[ray]'") from None
    with contextlib.ExitStack() as after:
        after.enter_context(_quiet(ray))
        if not ray.is_initialized():
            address = after.enter_context(_head(plan)) if plan.ray == "local" else _reachable(str(plan.ray))
            try:
                ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
            except (ConnectionError, ValueError, RuntimeError, OSError, ray.exceptions.RayError) as error:
                words = (str(error).strip().splitlines() or [type(error).__name__])[0]
                if plan.ray != "local" and "RAY_AUTH_MODE" not in os.environ:
                    words += "; if it asks for a token, export RAY_AUTH_MODE=token"
                raise InputError(f"--ray {plan.ray}: {words}") from None
            after.callback(ray.shutdown)
        yield ray


@contextlib.contextmanager
def _head(plan: "Plan") -> Iterator[str]:
    """Ray on this machine, while the context lasts; its address.

    A process of its own starts it: Ray forks, and a fork of a process in which JAX has threads may never return.
    """
    cores = plan.devices or len(os.sched_getaffinity(0))
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(cores)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"RAY_AUTH_MODE": os.environ.get("RAY_AUTH_MODE", "disabled")},  # as here
        start_new_session=True,  # the terminal's Ctrl-C is the driver's to handle
    )
    assert process.stdout is not None
    late = threading.Timer(HEAD_SECONDS, process.kill)
    late.start()
    try:
        said = next((line.split()[1] for line in process.stdout if line.startswith("at ")), None)
        late.cancel()  # from here on it may live as long as it is needed
        if said is None:
            raise InputError(f"--ray local: Ray did not start within {HEAD_SECONDS:g} s, or ended at once")
        yield said
    finally:
        late.cancel()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.communicate(timeout=30)  # closes its stdin, at which it ends
        process.kill()


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Keep off stdout what Ray prints there when a node dies, with a page of its log; a note says it shorter."""
    switch = ray._private.worker
    before = getattr(switch, "_worker_logs_enabled", True)
    switch._worker_logs_enabled = False
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        switch._worker_logs_enabled = before


def check_address(plan: "Plan") -> None:
    """Raise `InputError` if a plan's Ray address cannot be one."""
    address = str(plan.ray)
    host, _, port = address.rpartition(":")
    if address in ("local", "auto"):
        pass
    elif not host or "/" in host or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 1 << 16:
        raise InputError(f"--ray {address!r}: expected local, auto or HOST:PORT")
    if address != "local" and plan.devices is not None:
        raise InputError("--devices: the cluster's nodes say how many cores they lend; see --max-in-flight")


def _reachable(address: str) -> str:
    """An address at which somebody listens; Ray itself would wait for it without end."""
    if address == "auto":
        return address
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"--ray {address}: nobody answers there ({reason})") from None
    return address


def parcel(entry: Entry, code: str) -> dict[str, Any]:
    """All that a worker needs to have the study: its slug, or its file and the files that it imports."""
    found: dict[str, Any] = {"slug": entry.slug, "code": code, "versions": fingerprint.versions()}
    if entry.row is None:
        assert entry.path is not None
        found["main"] = entry.path.name
        found["files"] = fingerprint.beside(entry.path)
    return found


_studies: dict[tuple[str, str], "Study"] = {}


def _study(parcel: dict[str, Any]) -> "Study":
    """A worker's study, from its own installation or from the parcel, if it is what the driver has."""
    key = parcel["slug"], parcel["code"]
    if key not in _studies:
        here = fingerprint.versions()
        if other := [
            f"{n} {here.get(n)}, not {v}" for n, v in parcel["versions"].items() if here.get(n) != v
        ]:
            raise InputError(
                f"the worker on {os.uname().nodename} has {', '.join(other)}; numbers would differ"
            )
        if "main" in parcel:
            folder = Path(tempfile.mkdtemp(prefix="armillary-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            for name, content in parcel["files"].items():
                path = folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            found = catalogue.find(folder / parcel["main"])
        else:
            found = catalogue.find(parcel["slug"])
        assert found.path is not None
        if fingerprint.code(found.path) != parcel["code"]:
            raise InputError(f"the worker on {os.uname().nodename} has another armillary: the code differs")
        _studies[key] = found.study
    return _studies[key]


def compute(parcel: dict[str, Any], work: dict[str, Any], shared: tuple[Any, Any]) -> dict[str, Any]:
    """A worker's work: one chunk. What it gives is plain: places in the chunk, arrays, seconds, words."""
    _one_device()
    from armillary.lab import backend, host
    from armillary.lab.backend import Done, Group

    try:
        study = _study(parcel)
        count = len(work["seeds"])
        group = Group(
            study,
            work["static"],
            work["names"],
            work["seeds"],
            work["floats"],
            list(range(count)),
            *shared,
            chunk=work["chunk"],
        )
        chunk = host.in_this_process(group) if study.host else backend.on_this_device(group)
        found = list(backend.attempt(group, group.todo, chunk))
    except InputError as error:
        return {"refused": str(error)}
    except RunError as error:
        return {"done": [], "failed": [(list(range(count)), str(error))], "compile_seconds": 0.0}
    return {
        "done": [(f.runs, f.outputs, f.seconds) for f in found if isinstance(f, Done)],
        "failed": [(f.runs, backend.words(f)) for f in found if not isinstance(f, Done)],
        "compile_seconds": group.compile_seconds,
    }


@cache
def _one_device() -> None:
    """A worker has one core: one device, and no threads beside it."""
    flags = os.environ.get("XLA_FLAGS", "")
    if "xla_cpu_multi_thread_eigen" not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_multi_thread_eigen=false".strip()
    import jax

    from armillary.lab.plan import started
    from armillary.lab.sweep import use_compile_cache

    if not started():
        jax.config.update("jax_num_cpu_devices", 1)
    use_compile_cache()
