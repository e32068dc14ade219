"""How long a sweep will take: from the arithmetic that its runs ask for, until enough of them have ended.

At full scale a single run can take hours, and the runs of a sweep differ a thousandfold: neither "so many of so many
runs" nor a mean over those that have ended would say when it ends.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from jax.extend import core

from armillary.lab.backend import Done, Group, traced
from armillary.lab.plan import subprograms

WAIT = 8.0
"""Seconds before anything is counted: most quick studies are half through by then."""
SPEED = 2e10
"""Operations a second of one device, where no record tells: what the quick studies reach is 0.5 to 11 times 10¹⁰."""
FACTORIZATIONS = {
    "cholesky": 1 / 3,
    "lu": 2 / 3,
    "triangular_solve": 1.0,
    "qr": 4 / 3,
    "eigh": 9.0,
    "svd": 20.0,
}
"""Of n³ operations, roughly."""


def operations(jaxpr: core.Jaxpr) -> float:
    """Arithmetic operations of a program, roughly; a loop whose length depends on the data is taken at its limit."""
    return sum(_operations(eqn) for eqn in jaxpr.eqns)


def _operations(eqn: Any) -> float:
    name, inside = eqn.primitive.name, [p for value in eqn.params.values() for p in subprograms(value)]
    if inside:
        parts = [operations(p) for p in inside]
        if name == "cond":
            return max(parts)
        if name == "while":
            return sum(parts) * _limit(eqn.params["cond_jaxpr"].jaxpr)
        return sum(parts) * (eqn.params["length"] if name == "scan" else 1)
    shapes = [[getattr(v.aval, "shape", ()) for v in side] for side in (eqn.invars, eqn.outvars)]
    size = sum(math.prod(s) for s in shapes[1])
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2.0 * size * math.prod(shapes[0][0][i] for i in contracted)
    if name == "conv_general_dilated":
        kernel = math.prod(shapes[0][1])
        return 2.0 * size * kernel / shapes[0][1][eqn.params["dimension_numbers"].rhs_spec[0]]
    if name in FACTORIZATIONS:
        return FACTORIZATIONS[name] * max(math.prod(s) * max(s[-2:], default=1) for s in shapes[0])
    return float(max(size, *(math.prod(s) for s in shapes[0]), 0))


def _limit(condition: core.Jaxpr) -> int:
    """The number of rounds that a loop's condition names, as in `i < 500`; 1 if it names none."""
    found = [
        int(eqn.invars[1].val)
        for eqn in condition.eqns
        if eqn.primitive.name in ("lt", "le")
        and isinstance(eqn.invars[1], core.Literal)
        and isinstance(eqn.invars[1].val, int | np.integer)
    ]
    return max(1, min(found, default=1))


class Forecast:
    """Seconds that are left of a sweep, as its chunks end.

    **Arguments:**

    - `groups`: what is to be computed.
    - `places`: devices or processes that compute side by side; None: as many as are seen to.
    - `speed`: operations a second of one of them, asked for once and on another thread; None: nothing is said
      before the first chunk has ended.
    - `counted`: whether the groups are programs, whose operations can be counted.
    - `tell`: called once with the first guess, if it comes before the first chunk ends.
    """

    def __init__(
        self,
        groups: Sequence[Group],
        places: int | None,
        speed: Callable[[], float] | None,
        tell: Callable[[float], None],
        *,
        counted: bool = True,
    ):
        self.groups, self.places, self.speed, self.tell = groups, places, speed, tell
        self.left = {id(g): len(g.todo) for g in groups}
        self.seconds = dict.fromkeys(self.left, 0.0)
        self.done = dict.fromkeys(self.left, 0)
        self.sizes: dict[int, float] = {}
        self.counting = counted
        self.start = time.monotonic()
        self.ended = threading.Event()
        if groups and counted:
            threading.Thread(target=self._count, daemon=True, name="armillary forecast").start()

    def take(self, result: Done) -> float | None:
        """Note a chunk that has ended; the seconds that are left, if that can be said."""
        key = id(result.group)
        self.left[key] -= len(result.runs)
        self.done[key] += len(result.runs)
        self.seconds[key] += result.seconds
        return self.remaining(None)

    def close(self) -> None:
        """Nothing more is to be told."""
        self.ended.set()

    def remaining(self, speed: float | None) -> float | None:
        """Seconds left: each group at its own pace where it has one, else by its size at that of the others."""
        if self.counting:  # without sizes a few small runs would speak for the large ones
            return None
        busy = sum(self.seconds.values())
        sizes = self.sizes or dict.fromkeys(self.left, 1.0)
        if busy:
            speed = sum(sizes[k] * n for k, n in self.done.items()) / busy
        if not speed:
            return None
        left = sum(
            n * (self.seconds[k] / self.done[k] if self.done[k] else sizes[k] / speed)
            for k, n in self.left.items()
        )
        return left / (self.places or max(1.0, busy / (time.monotonic() - self.start)))

    def _count(self) -> None:
        if self.ended.wait(WAIT):
            return
        try:
            self.sizes = {id(g): max(1.0, operations(traced(g)[0].jaxpr)) for g in self.groups}
            speed = self.speed and self.speed()
        except Exception:  # what cannot be traced is told elsewhere
            return
        finally:
            self.counting = False
        guess = None if any(self.done.values()) else self.remaining(speed)
        if guess is not None and not self.ended.is_set():
            self.tell(guess)


def pace(groups: Iterable[Group], seconds: float, seeds: int) -> float:
    """Operations a second of a device that computed each of these runs `seeds` times in so many seconds."""
    total = sum(operations(traced(g)[0].jaxpr) * len(g.seeds) for g in groups)
    return total * seeds / seconds if seconds > 0 and total else SPEED
