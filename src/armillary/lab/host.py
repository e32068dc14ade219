"""Studies that cannot be compiled: one worker process a core, each a fresh interpreter on the study's file.

A worker reads jobs and writes results as lines of JSON, so that nothing is pickled and a worker that dies
takes one run with it. That run is tried once more, by a new worker.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from armillary.lab.backend import Done, Failed, Group, Notify, Outputs, check_outputs, collect, failure
from armillary.lab.errors import InputError, RunError
from armillary.lab.plan import Plan
from armillary.lab.study import Study


def execute(
    groups: list[Group], target: str, code: str, plan: Plan, notify: Notify, finished: "queue.Queue[Any]"
) -> Iterator[Done | Failed]:
    """Compute every group's runs in worker processes; yields them one by one as they end."""
    jobs = deque((group, run) for group in groups for run in group.todo)
    for group in groups:
        group.chunk = 1
    count = min(plan.devices or len(os.sched_getaffinity(0)), len(jobs))
    workers: list[_Worker] = []

    def work() -> None:
        worker = _Worker(target, code, notify)
        workers.append(worker)
        try:
            while jobs:
                group, run = jobs.popleft()
                finished.put(worker.compute(group, run))
        except IndexError:  # another thread took the last job
            pass
        except BaseException as error:
            jobs.clear()
            finished.put(error)
        finally:
            worker.close()
            finished.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield from collect(len(threads), finished)
    finally:
        jobs.clear()
        for worker in workers:
            worker.process.kill()


class _Worker:
    """A worker process and the pipe to it."""

    def __init__(self, target: str, code: str, notify: Notify):
        self.notify = notify
        self.command = [sys.executable, "-m", "armillary.lab.host", target, code]
        self.start()

    def start(self) -> None:
        one_thread = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | one_thread,
            start_new_session=True,  # the terminal's Ctrl-C is the parent's to handle
        )

    def compute(self, group: Group, run: int) -> Done | Failed:
        settings = settings_of(group, run)
        seed = int(group.seeds[run])
        job = json.dumps({"seed": seed, "settings": settings})
        for last in (False, True):
            start = time.perf_counter()
            answer = self._ask(job)
            if answer is not None:
                break
            words = f"{self._death()} at seed {seed} (settings: {settings})"
            if last:
                return Failed(group, [run], RunError(f"{words}, and so did the one that tried it again"))
            self.notify("note", words=f"{words}; a new one tries again")
            self.start()
        if "error" in answer:
            return Failed(group, [run], RunError(answer["error"]))
        outputs = {
            name: np.asarray(value, dtype).reshape(1, *shape)
            for name, (dtype, shape, value) in answer["outputs"].items()
        }
        return Done(group, [run], outputs, time.perf_counter() - start)

    def _death(self) -> str:
        try:
            code = self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"worker process {self.process.pid} {how}"

    def _ask(self, job: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write(job + "\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except (BrokenPipeError, OSError):
            return None
        return json.loads(line) if line.endswith("\n") else None

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def settings_of(group: Group, run: int) -> dict[str, Any]:
    """The settings of one run."""
    return group.static | dict(zip(group.names, group.floats[run].tolist()))


def compute(study: Study, seed: int, settings: dict[str, Any], data: Any, base: Any) -> dict[str, np.ndarray]:
    """One run of a study that is not compiled: its measurements.

    **Raises:** `RunError` if the experiment fails; `InputError` if it returns what it may not.
    """
    import jax

    given = [x for x, loader in ((data, study.data), (base, study.base)) if loader is not None]
    try:
        with jax.enable_x64(study.x64):
            out = check_outputs(study, study.experiment(jax.random.key(seed), *given, **settings))
            arrays = {name: np.asarray(value) for name, value in out.items()}
    except (InputError, RunError):
        raise
    except Exception as error:
        raise RunError(failure(study, error, str(settings))) from error
    for name, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise InputError(f"measurement {name!r} is of type {array.dtype}; give real numbers or booleans")
    return arrays


def in_this_process(group: Group) -> Callable[[list[int]], Outputs]:
    """What computes one run of the group here."""

    def chunk(runs: list[int]) -> Outputs:
        (run,) = runs
        found = compute(group.study, int(group.seeds[run]), settings_of(group, run), group.data, group.base)
        return {name: value[None] for name, value in found.items()}

    return chunk


def _serve(target: str, code: str) -> None:
    """A worker's life: jobs in, results out, until the pipe closes."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what an experiment prints, by whichever way, must not end up among the answers

    import jax

    from armillary.lab import catalogue, inputs

    study = catalogue.find(target).study
    jax.config.update("jax_enable_x64", study.x64)
    for line in sys.stdin:
        job = json.loads(line)
        settings = {k: tuple(v) if isinstance(v, list) else v for k, v in job["settings"].items()}
        try:
            data, data_hash = inputs.load(study, settings)
            base, _ = inputs.base(study, settings, data, code, data_hash)
            arrays = compute(study, job["seed"], settings, data, base)
            answer: dict[str, Any] = {
                "outputs": {k: [str(a.dtype), a.shape, a.ravel().tolist()] for k, a in arrays.items()}
            }
        except (InputError, RunError) as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve(*sys.argv[1:])
