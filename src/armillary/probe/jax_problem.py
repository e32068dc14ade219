"""Problems in JAX: a loss of any pytree of parameters (Equinox, Flax NNX, plain functions)."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from armillary.lab.errors import InputError
from armillary.lab.plan import devices
from armillary.measure.accuracy import cross_entropy
from armillary.measure.curvature import flatten
from armillary.probe.problem import Leaf, Problem

Function = Callable[[PyTree, PyTree], Any]


def from_jax(
    loss: Function,
    params: PyTree,
    batches: Iterable[PyTree] | Callable[[], Iterable[PyTree]],
    *,
    outputs: Function | None = None,
    objective: Function | None = None,
    features: Function | None = None,
    classifier: Callable[[PyTree], Array] | None = None,
    labels: Callable[[PyTree], Array] | None = None,
    inputs: Callable[[PyTree], Array] | None = None,
    attention: Function | None = None,
    activations: Function | None = None,
    start: PyTree | None = None,
    other: PyTree | None = None,
    micro_batch: int | None = None,
    dataset: int | None = None,
) -> Problem:
    """A problem from a JAX loss. The more of the optional functions there are, the more can be measured.

    **Arguments:**

    - `loss`: `(params, batch) -> scalar`, a mean over the batch's examples.
    - `params`: any pytree; its floating-point arrays are the parameters.
    - `batches`: a list of batches, a loader, or a function that returns an iterator. A batch is a pytree of
      arrays whose leading axis runs over examples; each is a micro-batch, computed whole.
    - `outputs`: `(params, batch) -> array`, the model's outputs (logits), examples first.
    - `objective`: `(outputs, batch) -> scalar`, the loss as a function of the outputs, for the Gauss-Newton
      matrix. Where it is left out and the loss is the outputs' cross-entropy with the labels, it is that.
    - `features`: `(params, batch) -> [examples, width]`, what the last layer reads.
    - `classifier`: `params -> [classes, width]`, the last layer's weights, a row a class.
    - `labels`: `batch -> [examples]`, integers; by default the batch's only one-dimensional integer array.
    - `inputs`: `batch -> array`, by default the batch's first array where that is floating-point.
    - `attention`: `(params, batch) -> pytree` of attention logits [..., queries, keys], -inf where masked.
    - `activations`: `(params, batch) -> pytree` of hidden layers' activations [..., units].
    - `start`: the parameters before training.
    - `other`: a second model's.
    - `micro_batch`: cut batches into so many examples.
    - `dataset`: examples of the whole training set, where `batches` are a part of it.

    **Raises:** `InputError` for parameters that cannot be differentiated, an Equinox model in training mode, data
    that change between passes, a loss that is not finite.
    """
    engine = JaxEngine(loss, params)
    for name, function in (
        ("outputs", outputs),
        ("features", features),
        ("attention", attention),
        ("activations", activations),
    ):
        if function is not None:
            engine.observed[name] = function
    engine.classifier_of, engine.labels_of, engine.inputs_of = classifier, labels, inputs
    problem = Problem(
        engine,
        batches,
        micro_batch=micro_batch,
        start=None if start is None else engine.flat(start, "start"),
        other=None if other is None else engine.flat(other, "other"),
        dataset=dataset,
        permuted=None if outputs is None else lambda a, b: engine.permuted(a, b, first),
    )
    first = next(iter(problem.data))
    engine.complete(first, objective)
    return problem


class JaxEngine:
    """Compiled functions of one micro-batch, one program a device."""

    framework = "jax"

    def __init__(self, loss: Function, params: PyTree):
        _refuse(params)
        self.devices = devices()
        self.lanes = len(self.devices)
        flat, self.unflatten = flatten(params)
        self.structure = jax.tree.structure(eqx.filter(params, eqx.is_inexact_array))
        self.vector = np.asarray(flat)
        leaves: list[Leaf] = []
        for path, leaf in jax.tree_util.tree_leaves_with_path(eqx.filter(params, eqx.is_inexact_array)):
            place = leaves[-1].stop if leaves else 0
            leaves.append(Leaf(jax.tree_util.keystr(path).lstrip("."), leaf.shape, place))
        self.leaves: Sequence[Leaf] = leaves
        self.own = [jax.device_put(self.vector, device) for device in self.devices]
        self.observed: dict[str, Function] = {}
        self.classifier_of: Callable[[PyTree], Array] | None = None
        self.labels_of: Callable[[PyTree], Array] | None = None
        self.inputs_of: Callable[[PyTree], Array] | None = None
        self.objective: Function | None = None
        self.has: frozenset[str] = frozenset()
        self.input_place: int | None = None

        at_loss = lambda at, batch: loss(self.unflatten(at), batch)
        self._loss = jax.jit(at_loss)
        self._gradient = jax.jit(jax.grad(at_loss))
        self._singles = jax.jit(jax.vmap(at_loss, (None, 0)))
        self._single_gradients = jax.jit(jax.vmap(jax.grad(at_loss), (None, 0)))
        self._hessian = jax.jit(self._hessian_product(at_loss))
        self._plain = at_loss

    @staticmethod
    def _hessian_product(at_loss: Function) -> Callable[[Array, PyTree, Array], Array]:
        def product(at: Array, batch: PyTree, vectors: Array) -> Array:
            # Linearized once for the stack; one vector at a time is fastest on a CPU and takes least memory.
            return jax.lax.map(jax.linearize(jax.grad(lambda a: at_loss(a, batch)), at)[1], vectors)

        return product

    def _gauss_newton_product(self, at: Array, batch: PyTree, vectors: Array) -> Array:
        outputs, push = jax.linearize(lambda a: self._outputs(a, batch), at)
        pull = jax.linear_transpose(push, at)
        objective = self.objective
        assert objective is not None
        curve = jax.linearize(jax.grad(lambda o: objective(o, batch)), outputs)[1]
        return jax.lax.map(lambda v: pull(curve(push(v)))[0], vectors)

    def _outputs(self, at: Array, batch: PyTree) -> Array:
        return self.observed["outputs"](self.unflatten(at), batch)

    def complete(self, first: PyTree, objective: Function | None) -> None:
        """Find out, on the first batch, what can be measured."""
        leaves = jax.tree.leaves(first)
        has = set(self.observed)
        if self.inputs_of is None and np.issubdtype(np.asarray(leaves[0]).dtype, np.floating):
            self.input_place = 0
        elif self.inputs_of is not None:
            wanted = self.inputs_of(first)
            self.input_place = next((i for i, leaf in enumerate(leaves) if leaf is wanted), None)
            if self.input_place is None:
                raise InputError("inputs=: expected a function that returns one of the batch's own arrays")
        if self.input_place is not None:
            has.add("inputs")
        if self.labels_of is None:
            found = [
                i
                for i, leaf in enumerate(leaves)
                if np.ndim(leaf) == 1 and np.issubdtype(np.asarray(leaf).dtype, np.integer)
            ]
            if len(found) == 1:
                (place,) = found
                self.labels_of = lambda batch: jax.tree.leaves(batch)[place]
        if self.labels_of is not None:
            has.add("labels")
        if self.classifier_of is not None:
            has.add("classifier")
        if objective is None and {"outputs", "labels"} <= has:
            labels_of = self.labels_of
            assert labels_of is not None
            cross = lambda o, b: cross_entropy(o, labels_of(b))
            logits = self.observed["outputs"](self.unflatten(self.own[0]), first)
            if logits.ndim == 2 and np.isclose(
                float(cross(logits, first)), self.loss(None, first, 0), rtol=1e-4
            ):
                objective = cross
        if objective is not None:
            if "outputs" not in has:
                raise InputError("objective= is a function of the outputs: pass outputs= too")
            self.objective = objective
            has.add("objective")
            made = self._outputs(self.own[0], first)
            plain, shifted = (float(objective(o, first)) for o in (made, made + 1.0))
            if made.ndim > 1 and np.isclose(plain, shifted, rtol=1e-4, atol=1e-6):
                has.add("logits")  # adding a constant changes nothing: logits of a softmax
        self.has = frozenset(has)
        if "outputs" in has:
            dot = lambda at, batch, u: jnp.vdot(u, self._outputs(at, batch)[0])
            self._output_gradients = jax.jit(jax.vmap(jax.grad(dot), (None, 0, None)))
            self._gauss_newton = jax.jit(self._gauss_newton_product)
        if "inputs" in has:
            lossy = lambda x, at, batch: self._plain(at, self.with_inputs(batch, x))
            self._input_gradient = jax.jit(jax.grad(lossy))

    def flat(self, params: PyTree, name: str) -> np.ndarray:
        """Another pytree of parameters as a vector."""
        vector, _ = flatten(params)
        shapes = [leaf.shape for leaf in jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array))]
        if shapes != [leaf.shape for leaf in self.leaves]:
            raise InputError(f"{name}=: its arrays differ in number or shape from those of the parameters")
        return np.asarray(vector)

    def rows(self, batch: PyTree) -> int:
        leaves = [leaf for leaf in jax.tree.leaves(batch) if np.ndim(leaf)]
        if not leaves:
            raise InputError("a batch has no arrays with examples along their first axis")
        if len(sizes := {np.shape(leaf)[0] for leaf in leaves}) > 1:
            raise InputError(f"a batch's arrays disagree on the number of examples: {sorted(sizes)}")
        return int(np.shape(leaves[0])[0])

    def arrays(self, batch: PyTree) -> Iterable[np.ndarray]:
        return (np.asarray(leaf) for leaf in jax.tree.leaves(batch))

    def take(self, batch: PyTree, start: int, stop: int) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[start:stop] if np.ndim(leaf) else leaf, batch)

    def pad(self, batch: PyTree, rows: int) -> PyTree:
        """Repeat the last example up to so many rows."""
        repeat = lambda leaf: np.concatenate([leaf, np.repeat(leaf[-1:], rows - len(leaf), 0)])
        return jax.tree.map(lambda leaf: repeat(np.asarray(leaf)) if np.ndim(leaf) else leaf, batch)

    def _put(self, at: np.ndarray | None, batch: PyTree, lane: int) -> tuple[Array, PyTree]:
        device = self.devices[lane]
        return self.own[lane] if at is None else jax.device_put(at, device), jax.device_put(batch, device)

    def loss(self, at: np.ndarray | None, batch: PyTree, lane: int) -> float:
        return float(self._loss(*self._put(at, batch, lane)))

    def gradient(self, at: np.ndarray | None, batch: PyTree, lane: int) -> np.ndarray:
        return np.array(self._gradient(*self._put(at, batch, lane)))

    def hessian(self, batch: PyTree, vectors: np.ndarray, lane: int) -> np.ndarray:
        return np.array(
            self._hessian(*self._put(None, batch, lane), jax.device_put(vectors, self.devices[lane]))
        )

    def gauss_newton(self, batch: PyTree, vectors: np.ndarray, lane: int) -> np.ndarray:
        vectors = jax.device_put(vectors, self.devices[lane])
        return np.array(self._gauss_newton(*self._put(None, batch, lane), vectors))

    def example_losses(self, at: np.ndarray | None, batch: PyTree, lane: int) -> np.ndarray:
        here, batch = self._put(at, batch, lane)
        return np.array(self._singles(here, _single(batch)))

    def example_gradients(
        self, at: np.ndarray | None, batch: PyTree, lane: int, *, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        here, batch = self._put(at, batch, lane)
        if outputs is None:
            return np.array(self._single_gradients(here, _single(batch)))
        return np.array(
            self._output_gradients(here, _single(batch), jax.device_put(outputs, self.devices[lane]))
        )

    def observe(
        self, at: np.ndarray | None, batch: PyTree, reduce: dict[str, Callable], lane: int
    ) -> dict[str, Any]:
        here, batch = self._put(at, batch, lane)
        found: dict[str, Any] = {}
        for name, reduction in reduce.items():
            if name == "labels":
                assert self.labels_of is not None
                found[name] = reduction(np.asarray(self.labels_of(batch)))
                continue
            value = self._observer(name)(here, batch)
            if name in ("attention", "activations"):
                layers = jax.tree_util.tree_leaves_with_path(value)
                found[name] = {
                    jax.tree_util.keystr(path) or name: [reduction(np.asarray(leaf))] for path, leaf in layers
                }
            else:
                found[name] = reduction(np.asarray(value))
        return found

    def _observer(self, name: str) -> Function:
        made = self.__dict__.setdefault("_observers", {})
        if name not in made:
            function = self.observed[name]
            made[name] = jax.jit(lambda at, batch: function(self.unflatten(at), batch))
        return made[name]

    def classifier(self, at: np.ndarray | None) -> np.ndarray:
        assert self.classifier_of is not None
        return np.asarray(self.classifier_of(self.unflatten(self.own[0] if at is None else jnp.asarray(at))))

    def inputs(self, batch: PyTree) -> np.ndarray:
        return np.asarray(jax.tree.leaves(batch)[self.input_place or 0])

    def input_gradient(self, batch: PyTree, lane: int) -> np.ndarray:
        here, batch = self._put(None, batch, lane)
        return np.array(self._input_gradient(jax.tree.leaves(batch)[self.input_place or 0], here, batch))

    def with_inputs(self, batch: PyTree, inputs: Any) -> PyTree:
        leaves, structure = jax.tree.flatten(batch)
        leaves[self.input_place or 0] = inputs
        return jax.tree.unflatten(structure, leaves)

    def outputs_shape(self, batch: PyTree) -> tuple[int, ...]:
        return jax.eval_shape(self._outputs, self.own[0], batch).shape[1:]

    def permuted(self, a: np.ndarray, b: np.ndarray, batch: PyTree) -> np.ndarray:
        """b with its units permuted so that its weights come close to a's.

        **Raises:** `SymmetryError` where the model has an operation through which units cannot be followed.
        """
        from armillary.merge import permutation_symmetry, permute, weight_matching

        first, second = self.unflatten(jnp.asarray(a)), self.unflatten(jnp.asarray(b))
        symmetry = permutation_symmetry(self.observed["outputs"], first, batch)
        found = weight_matching(symmetry, first, second).permutations
        return np.asarray(flatten(permute(symmetry, second, found))[0])


def _single(batch: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[:, None] if jnp.ndim(leaf) else leaf, batch)


def _refuse(params: PyTree) -> None:
    """Raise for parameters that cannot be measured."""
    trains = lambda node: getattr(node, "inference", None) is False and getattr(node, "p", 1) != 0
    training = [type(node).__name__ for node in jax.tree.leaves(params, is_leaf=trains) if trains(node)]
    if training:
        raise InputError(
            f"the model is in training mode ({training[0]}): pass eqx.nn.inference_mode(model), so that every "
            "measurement sees the same function"
        )
    floats = 0
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not eqx.is_array_like(leaf) or not hasattr(leaf, "dtype"):
            continue
        name = jax.tree_util.keystr(path).lstrip(".")
        if jnp.issubdtype(leaf.dtype, jnp.integer) and np.ndim(leaf):
            raise InputError(
                f"parameter {name} is {leaf.dtype}: only floating-point parameters have gradients; cast it, or "
                "let the loss hold it"
            )
        if jnp.issubdtype(leaf.dtype, jnp.floating):
            floats += 1
            if leaf.dtype.itemsize < 4:
                raise InputError(
                    f"parameter {name} is {leaf.dtype}: curvature needs 32 bits; cast it to float32"
                )
    if not floats:
        raise InputError("the parameters have no floating-point arrays: there is nothing to differentiate")
