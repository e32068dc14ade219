"""A model, its loss and its data, as the few functions that every measurement is written over.

Vectors are flat NumPy arrays of the trainable entries; a framework's engine computes on one micro-batch, and the
problem sums over all of them, so that memory is one micro-batch's whatever the size of the data.
"""

import math
import time
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeVar

import numpy as np
from jaxtyping import Float, Int

from armillary.lab.errors import InputError

T = TypeVar("T")
Batch = Any
Vector = Float[np.ndarray, " parameters"]
Vectors = Float[np.ndarray, "vectors parameters"]


class Leaf(NamedTuple):
    """One parameter array, and where its entries stand in the flat vector."""

    name: str
    shape: tuple[int, ...]
    start: int

    @property
    def stop(self) -> int:
        """The place after its last entry."""
        return self.start + math.prod(self.shape)

    def of(self, vector: np.ndarray) -> np.ndarray:
        """Its entries in a flat vector, in its own shape; a view."""
        return vector[self.start : self.stop].reshape(self.shape)


class Engine(Protocol):
    """What a framework computes on one micro-batch. `at` is a flat vector, None for the model's own parameters."""

    framework: str
    lanes: int
    """Micro-batches that may be computed side by side."""
    vector: Vector
    leaves: Sequence[Leaf]
    has: frozenset[str]
    """What can be observed or differentiated besides the loss: outputs, objective, features, classifier, labels,
    inputs, attention, activations."""

    def rows(self, batch: Batch) -> int:
        """How many examples a batch has."""

    def arrays(self, batch: Batch) -> Iterable[np.ndarray]:
        """The batch's arrays, to tell whether it is the same as before."""

    def take(self, batch: Batch, start: int, stop: int) -> Batch:
        """The examples from `start` to `stop` of a batch."""

    def loss(self, at: Vector | None, batch: Batch, lane: int) -> float:
        """The batch's loss."""

    def gradient(self, at: Vector | None, batch: Batch, lane: int) -> Vector:
        """Its gradient."""

    def hessian(self, batch: Batch, vectors: Vectors, lane: int) -> Vectors:
        """Its Hessian times each vector."""

    def gauss_newton(self, batch: Batch, vectors: Vectors, lane: int) -> Vectors:
        """Its Gauss-Newton matrix times each vector."""

    def example_losses(self, at: Vector | None, batch: Batch, lane: int) -> Float[np.ndarray, " rows"]:
        """The loss of each example by itself."""

    def example_gradients(
        self, at: Vector | None, batch: Batch, lane: int, *, outputs: np.ndarray | None = None
    ) -> Float[np.ndarray, "rows parameters"]:
        """The gradient of each example's loss; of ⟨outputs, the example's model outputs⟩ if `outputs` is given."""

    def observe(
        self, at: Vector | None, batch: Batch, reduce: dict[str, Callable[[np.ndarray], Any]], lane: int
    ) -> dict[str, Any]:
        """What the reduction of each name makes of the batch's intermediates of that name."""

    def classifier(self, at: Vector | None) -> Float[np.ndarray, "classes features"]:
        """The last layer's weights."""

    def inputs(self, batch: Batch) -> np.ndarray:
        """The batch's inputs, floating-point."""

    def input_gradient(self, batch: Batch, lane: int) -> np.ndarray:
        """The gradient of the batch's loss with respect to its inputs."""

    def with_inputs(self, batch: Batch, inputs: np.ndarray) -> Batch:
        """The batch with other inputs."""

    def outputs_shape(self, batch: Batch) -> tuple[int, ...]:
        """The shape of one example's model outputs."""


@dataclass
class Batches:
    """Micro-batches that can be gone through again and again and are the same each time, which is checked."""

    source: Iterable[Batch] | Callable[[], Iterable[Batch]]
    engine: Engine
    micro_batch: int | None = None
    sizes: list[int] = field(default_factory=list)
    marks: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for batch in self._cut():
            self.sizes.append(self.engine.rows(batch))
            self.marks.append(self._mark(batch))
        if not self.sizes:
            raise InputError("the data have no batches: pass a list of batches, or a loader")
        if not isinstance(self.source, list | tuple):
            for _ in self:  # once more: a loader that shuffles is found out here, before anything is computed
                pass

    def __iter__(self) -> Iterator[Batch]:
        count = 0
        kept = isinstance(self.source, list | tuple)
        for count, batch in enumerate(self._cut(), 1):
            if not kept and (count > len(self.marks) or self._mark(batch) != self.marks[count - 1]):
                raise InputError(
                    f"the loader's batch {count} differs from its first pass: every measurement must see the same "
                    "data; pass shuffle=False and no random augmentation, or list(loader)"
                )
            yield batch
        if count < len(self.marks):
            raise InputError(
                f"the loader gave {len(self.marks)} batches on its first pass and {count} on a later one: "
                "pass list(loader), or a function that returns a new iterator"
            )

    def _cut(self) -> Iterator[Batch]:
        for batch in self.source() if callable(self.source) else self.source:
            rows = self.engine.rows(batch)
            step = self.micro_batch or rows or 1
            for start in range(0, rows, step):
                yield batch if step >= rows else self.engine.take(batch, start, min(start + step, rows))

    def _mark(self, batch: Batch) -> int:
        mark = 0
        for array in self.engine.arrays(batch):
            mark = zlib.crc32(np.ascontiguousarray(array).tobytes(), mark)
        return mark


class Problem:
    """A model at its parameters, with its loss and data: `from_jax` and `from_torch` make one."""

    def __init__(
        self,
        engine: Engine,
        batches: Iterable[Batch] | Callable[[], Iterable[Batch]],
        *,
        micro_batch: int | None = None,
        start: Vector | None = None,
        other: Vector | None = None,
        dataset: int | None = None,
        permuted: Callable[[Vector, Vector], Vector] | None = None,
    ):
        """**Arguments:**

        - `engine`: the framework's functions of one micro-batch.
        - `batches`: a list, or a loader that gives the same batches on every pass.
        - `micro_batch`: cut batches into so many examples; only where the loss is a mean over examples.
        - `start`: the parameters before training, flat.
        - `other`: a second model's, flat.
        - `dataset`: examples of the whole training set, where `batches` are a part of it.
        - `permuted`: `(a, b) -> b` with its units permuted to match a's.

        **Raises:** `InputError` for data without examples, a loader that changes, a loss that is not finite.
        """
        self.engine = engine
        self.start, self.other, self.permuted = start, other, permuted
        if micro_batch is not None and micro_batch < 1:
            raise InputError(f"micro_batch={micro_batch}: expected 1 or more examples")
        self.data = Batches(batches, engine, micro_batch)
        self.sizes = self.data.sizes
        self.examples = sum(self.sizes)
        self.dataset = dataset or self.examples
        self.vector = engine.vector
        self.leaves = tuple(engine.leaves)
        self._pool = ThreadPoolExecutor(max(1, engine.lanes), thread_name_prefix="armillary-probe")
        for number, value in enumerate(self._each(lambda b, lane: engine.loss(None, b, lane)), 1):
            if not math.isfinite(value):
                raise InputError(
                    f"the loss is {value} on batch {number}: there is nothing to measure around it"
                )

    @property
    def size(self) -> int:
        """The number of trainable entries."""
        return len(self.vector)

    @property
    def framework(self) -> str:
        """`jax` or `torch`."""
        return self.engine.framework

    @cached_property
    def seconds(self) -> float:
        """What one gradient over all examples takes, compiled, from the first micro-batch."""
        first = next(iter(self.data))
        self.engine.gradient(None, first, 0)
        began = time.perf_counter()
        self.engine.gradient(None, first, 0)
        return (time.perf_counter() - began) * self.examples / self.sizes[0]

    def has(self, *names: str) -> bool:
        """Whether the model's intermediates of these names are known."""
        return self.engine.has.issuperset(names)

    @cached_property
    def base_loss(self) -> float:
        """The loss at the model's own parameters."""
        return self.loss()

    def loss(self, at: Vector | None = None) -> float:
        """The mean loss over all examples."""
        return float(sum(self._weighted(lambda b, lane: self.engine.loss(at, b, lane))))

    def gradient(self, at: Vector | None = None) -> Vector:
        """Its gradient."""
        return self._sum(lambda b, lane: self.engine.gradient(at, b, lane))

    def hessian(self, vectors: Vectors) -> Vectors:
        """Its Hessian times each of a stack of vectors."""
        return self._product(self.engine.hessian, vectors)

    def gauss_newton(self, vectors: Vectors) -> Vectors:
        """Its Gauss-Newton matrix times each of a stack of vectors."""
        return self._product(self.engine.gauss_newton, vectors)

    def example_losses(self, at: Vector | None = None) -> Float[np.ndarray, " examples"]:
        """The loss of each example by itself."""
        return np.concatenate(list(self._each(lambda b, lane: self.engine.example_losses(at, b, lane))))

    @cached_property
    def base_example_losses(self) -> Float[np.ndarray, " examples"]:
        """The same at the model's own parameters."""
        return self.example_losses()

    @cached_property
    def separable(self) -> bool:
        """Whether the loss of a batch is the mean of its examples' losses."""
        scale = max(abs(self.base_loss), 1e-6)
        return bool(abs(self.base_example_losses.mean() - self.base_loss) <= 1e-3 * scale)

    def example_gradients(
        self,
        memory: float,
        *,
        at: Vector | None = None,
        outputs: np.ndarray | None = None,
        limit: int | None = None,
    ) -> Iterator[Float[np.ndarray, "rows parameters"]]:
        """The gradient of every example's loss, in order, so many at a time as take up to `memory` bytes.

        **Arguments:**

        - `memory`: for one chunk of gradients, bytes.
        - `at`: other parameters.
        - `outputs`: differentiate ⟨outputs, model outputs⟩ and not the loss.
        - `limit`: the first so many examples only.
        """
        chunk = max(1, min(256, int(memory / (self.vector.itemsize * self.size * max(1, self.engine.lanes)))))
        left = self.examples if limit is None else min(limit, self.examples)

        def pieces() -> Iterator[tuple[Batch, int]]:
            nonlocal left
            for batch in self.data:
                rows = self.engine.rows(batch)
                for begin in range(0, rows, chunk):
                    if left <= 0:
                        return
                    end = min(begin + chunk, rows, begin + left)
                    left -= end - begin
                    piece = self.engine.take(batch, begin, end)
                    # One shape for all chunks, so that one program serves them.
                    yield (piece if end - begin == chunk else self._padded(piece, chunk)), end - begin

        work = lambda p, lane: self.engine.example_gradients(at, p[0], lane, outputs=outputs)[: p[1]]
        return self._each(work, pieces())

    def observe(
        self, at: Vector | None = None, /, **reduce: Callable[[np.ndarray], Any]
    ) -> list[dict[str, Any]]:
        """For every micro-batch, what each reduction makes of the intermediates of its name.

        Names: `outputs`, `features`, `labels` (one array each), `attention`, `activations` (a dictionary: for each
        layer, what the reduction makes of its array, once a call of the layer).
        """
        return list(self._each(lambda b, lane: self.engine.observe(at, b, reduce, lane)))

    def gathered(self, name: str, at: Vector | None = None) -> np.ndarray:
        """One kind of intermediate of all examples."""
        return np.concatenate([found[name] for found in self.observe(at, **{name: np.asarray})])

    @cached_property
    def labels(self) -> Int[np.ndarray, " examples"]:
        """Each example's class."""
        return self.gathered("labels").astype(int)

    @cached_property
    def classes(self) -> int | None:
        """How many classes there are, where examples have labels."""
        return int(self.labels.max()) + 1 if self.has("labels") else None

    def _padded(self, batch: Batch, rows: int) -> Batch:
        pad = getattr(self.engine, "pad", None)
        return batch if pad is None else pad(batch, rows)

    def _product(self, product: Callable[[Batch, Vectors, int], Vectors], vectors: Vectors) -> Vectors:
        lanes = self.engine.lanes
        if (
            len(self.sizes) < lanes and len(vectors) > 1
        ):  # too few micro-batches to go round: deal the vectors
            parts = np.array_split(vectors, min(lanes, len(vectors)))
            batches = list(self.data)

            def work(part: Vectors, lane: int) -> Vectors:
                return sum(n / self.examples * product(b, part, lane) for n, b in zip(self.sizes, batches))  # type: ignore[return-value]

            return np.concatenate(list(self._each(work, parts)))
        return self._sum(lambda b, lane: product(b, vectors, lane))

    def _sum(self, work: Callable[[Batch, int], np.ndarray]) -> np.ndarray:
        total: np.ndarray | None = None
        for part in self._weighted(work):
            total = part if total is None else np.add(total, part, out=total)
        assert total is not None
        return total

    def _weighted(self, work: Callable[[Batch, int], Any]) -> Iterator[Any]:
        for n, value in zip(self.sizes, self._each(work)):
            yield (
                value
                if n == self.examples
                else value * np.asarray(n / self.examples, np.asarray(value).dtype)
            )

    def _each(self, work: Callable[[Any, int], T], items: Iterable[Any] | None = None) -> Iterator[T]:
        """The results in order; as many at once as there are lanes, each lane doing one at a time."""
        lanes = max(1, self.engine.lanes)
        waiting: deque[Future[T]] = deque()
        for number, item in enumerate(self.data if items is None else items):
            if len(waiting) == lanes:
                yield waiting.popleft().result()
            waiting.append(self._pool.submit(work, item, number % lanes))
        while waiting:
            yield waiting.popleft().result()
