"""Problems in PyTorch: any `nn.Module`, its loss and a loader."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np

from armillary.lab.errors import InputError
from armillary.probe.problem import Leaf, Problem

if TYPE_CHECKING:
    from torch import Tensor, nn

Batch = Any


def from_torch(
    model: "nn.Module",
    loss: Callable[[Any, Any], "Tensor"] | None,
    loader: Iterable[Batch] | Callable[[], Iterable[Batch]],
    *,
    forward: Callable[["nn.Module", Batch], Any] | None = None,
    targets: Callable[[Batch], "Tensor"] | None = None,
    last_layer: str | None = None,
    start: "nn.Module | Mapping[str, Tensor] | None" = None,
    other: "nn.Module | Mapping[str, Tensor] | None" = None,
    micro_batch: int | None = None,
    dataset: int | None = None,
) -> Problem:
    """A problem from a PyTorch module; needs the extra `armillary[torch]`.

    The outputs, the targets, the last layer's features, attention and activations are found by watching a forward
    pass: softmax over keys and `scaled_dot_product_attention`, activation functions, the last `nn.Linear`.

    **Arguments:**

    - `model`: in eval mode; its parameters that require gradients are measured. Weights may be shared. Inside,
      attention runs on PyTorch's math kernel, the one with second derivatives on a CPU.
    - `loss`: `(outputs, targets) -> scalar`, a mean over the batch's examples; None takes the outputs' own `.loss`.
    - `loader`: batches `(inputs, …, targets)` or mappings of keyword arguments, examples first, the same on every
      pass. Outputs with `.logits` are taken by these.
    - `forward`: `(model, batch) -> outputs`, where batches are of another kind.
    - `targets`: `batch -> targets`; by default the last of a tuple, or the mapping's `labels`.
    - `last_layer`: the name of the module that reads the features; by default the last `nn.Linear` called, where
      its outputs are the model's.
    - `start`, `other`: the model before training, and a second one: modules or state dictionaries.
    - `micro_batch`: cut batches into so many examples.
    - `dataset`: examples of the whole training set, where the loader has a part of it.

    **Raises:** `InputError` without PyTorch, for a model in training mode, integer parameters, a loader that changes
    between passes, a loss that is not finite.
    """
    try:
        import torch
    except ImportError:
        raise InputError("from_torch needs PyTorch: pip install 'armillary[torch]'") from None
    _refuse(model, torch)
    engine = TorchEngine(model, loss, forward, targets, last_layer)
    problem = Problem(
        engine,
        loader,
        micro_batch=micro_batch,
        start=None if start is None else engine.flat(start, "start"),
        other=None if other is None else engine.flat(other, "other"),
        dataset=dataset,
        permuted=lambda a, b: engine.permuted(a, b, first),
    )
    first = next(iter(problem.data))
    engine.complete(first)
    return problem


class TorchEngine:
    """Functions of one micro-batch by `torch.func` and autograd; PyTorch's own threads use the cores."""

    framework = "torch"
    lanes = 1

    def __init__(
        self,
        model: "nn.Module",
        loss: Callable[[Any, Any], "Tensor"] | None,
        forward: Callable[["nn.Module", Batch], Any] | None,
        targets: Callable[[Batch], "Tensor"] | None,
        last_layer: str | None,
    ):
        import torch

        self.torch, self.model, self.objective_of = torch, model, loss
        self.forward_of, self.targets_of, self.last_layer = forward, targets, last_layer
        named = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.fixed = {n: p for n, p in model.named_parameters() if not p.requires_grad} | dict(
            model.named_buffers()
        )
        self.device = next(iter(named.values())).device
        self.leaves: Sequence[Leaf] = []
        place = 0
        for name, parameter in named.items():
            self.leaves = [*self.leaves, Leaf(name, tuple(parameter.shape), place)]
            place += parameter.numel()
        self.vector = torch.cat([p.detach().reshape(-1).cpu() for p in named.values()]).numpy()
        self.own = torch.from_numpy(self.vector).to(self.device)
        self.has: frozenset[str] = frozenset()
        self.vectorized = True
        if last_layer is not None and last_layer not in dict(model.named_modules()):
            from armillary.lab.errors import nearest

            raise InputError(f"no module {last_layer!r}; {nearest(last_layer, dict(model.named_modules()))}")

    def complete(self, first: Batch) -> None:
        """Find out, on the first batch, what can be measured."""
        torch = self.torch
        has: set[str] = set()
        with torch.no_grad():
            seen = self._watch(None, first)
        outputs, rows = seen["outputs"], self.rows(first)
        if outputs is not None and outputs.ndim and len(outputs) == rows:
            has.add("outputs")
            if self.objective_of is not None:
                has.add("objective")
                plain, shifted = (self._objective(o, first).item() for o in (outputs, outputs + 1.0))
                if outputs.ndim > 1 and np.isclose(plain, shifted, rtol=1e-4, atol=1e-6):
                    has.add("logits")  # adding a constant changes nothing: logits of a softmax
        if seen["features"] is not None and seen["features"].ndim == 2 and len(seen["features"]) == rows:
            has |= {"features", "classifier"}
        labels = self._targets(first)
        if isinstance(labels, torch.Tensor) and labels.ndim == 1 and not labels.is_floating_point():
            has.add("labels")
        if self._input_place(first) is not None:
            has.add("inputs")
        has |= {name for name in ("attention", "activations") if seen[name]}
        self.has = frozenset(has)

    def flat(self, other: "nn.Module | Mapping[str, Tensor]", name: str) -> np.ndarray:
        """Another model's parameters as a vector."""
        state = other if isinstance(other, Mapping) else dict(other.named_parameters())
        missing = [leaf.name for leaf in self.leaves if leaf.name not in state]
        if missing:
            raise InputError(f"{name}=: has no parameter {missing[0]!r}")
        parts = [state[leaf.name] for leaf in self.leaves]
        buffers = dict(other.named_buffers()) if not isinstance(other, Mapping) else other
        for buffer, value in self.model.named_buffers():
            if value.is_floating_point() and buffer in buffers and not value.equal(buffers[buffer].to(value)):
                raise InputError(
                    f"{name}=: its buffer {buffer} differs from the model's, and only parameters can be exchanged; "
                    "fold batch norm into the layers first (torch.nn.utils.fusion)"
                )
        if bad := [leaf.name for leaf, p in zip(self.leaves, parts) if tuple(p.shape) != leaf.shape]:
            raise InputError(f"{name}=: {bad[0]} has another shape than the model's")
        return self.torch.cat([p.detach().reshape(-1).cpu() for p in parts]).numpy().astype(self.vector.dtype)

    def permuted(self, a: np.ndarray, b: np.ndarray, batch: Batch) -> np.ndarray:
        """b with its units permuted so that its weights come close to a's.

        **Raises:** `ValueError` where the model has an operation through which units cannot be followed.
        """
        import jax.numpy as jnp

        from armillary.measure.curvature import flatten
        from armillary.merge import permutation_symmetry, permute, weight_matching
        from armillary.probe.torch_graph import as_jax

        batch = self._tensors(batch)
        with self._twice_differentiable():
            outputs = as_jax(lambda p: self._logits(self._call(p, batch)), self._parameters(self.own))
        first, second = ([jnp.asarray(leaf.of(v)) for leaf in self.leaves] for v in (a, b))
        names = [leaf.name for leaf in self.leaves]
        symmetry = permutation_symmetry(lambda p, _: outputs(dict(zip(names, p))), first, jnp.zeros(1))
        found = weight_matching(symmetry, first, second).permutations
        return np.asarray(flatten(permute(symmetry, second, found))[0])

    # Batches

    def _tensors(self, batch: Batch) -> Batch:
        """The batch with its arrays as tensors on the model's device."""
        torch = self.torch
        if isinstance(batch, np.ndarray):
            batch = torch.from_numpy(np.ascontiguousarray(batch))
        if isinstance(batch, torch.Tensor):
            return batch.to(self.device)
        if isinstance(batch, Mapping):
            return {name: self._tensors(value) for name, value in batch.items()}
        if isinstance(batch, list | tuple):
            made = [self._tensors(value) for value in batch]
            return type(batch)(*made) if hasattr(batch, "_fields") else type(batch)(made)
        return batch

    def _leaves(self, batch: Batch) -> list[Any]:
        found = self.torch.utils._pytree.tree_leaves(dict(batch) if isinstance(batch, Mapping) else batch)
        return [leaf for leaf in found if hasattr(leaf, "shape") and len(leaf.shape)]

    def _map(self, function: Callable[[Any], Any], batch: Batch) -> Batch:
        batch = dict(batch) if isinstance(batch, Mapping) else batch
        array = lambda leaf: hasattr(leaf, "shape") and len(leaf.shape) > 0
        return self.torch.utils._pytree.tree_map(lambda leaf: function(leaf) if array(leaf) else leaf, batch)

    def rows(self, batch: Batch) -> int:
        leaves = self._leaves(batch)
        if not leaves:
            raise InputError("a batch has no tensors with examples along their first axis")
        if len(sizes := {leaf.shape[0] for leaf in leaves}) > 1:
            raise InputError(f"a batch's tensors disagree on the number of examples: {sorted(sizes)}")
        return int(leaves[0].shape[0])

    def arrays(self, batch: Batch) -> Iterable[np.ndarray]:
        return (np.asarray(leaf.cpu() if hasattr(leaf, "cpu") else leaf) for leaf in self._leaves(batch))

    def take(self, batch: Batch, start: int, stop: int) -> Batch:
        return self._map(lambda leaf: leaf[start:stop], batch)

    # The model as a function of its parameters

    def _parameters(self, flat: "Tensor") -> dict[str, "Tensor"]:
        # One split: its derivative is one concatenation, where slices would each make a vector of the whole size.
        parts = flat.split([leaf.stop - leaf.start for leaf in self.leaves])
        return {leaf.name: part.view(leaf.shape) for leaf, part in zip(self.leaves, parts)}

    def _at(self, at: np.ndarray | None) -> "Tensor":
        return self.own if at is None else self.torch.from_numpy(at).to(self.device)

    def _call(self, parameters: dict[str, "Tensor"], batch: Batch) -> Any:
        state = {**parameters, **self.fixed}
        call = self.torch.func.functional_call
        if self.forward_of is not None:
            own = self

            class Bound:
                """The module, called with other parameters."""

                def __call__(self, *args: Any, **kwargs: Any) -> Any:
                    return call(own.model, state, args, kwargs)

                def __getattr__(self, name: str) -> Any:
                    return getattr(own.model, name)

            return self.forward_of(Bound(), batch)  # type: ignore[arg-type]
        if isinstance(batch, Mapping):
            return call(self.model, state, (), dict(batch))
        args = tuple(batch[:-1]) if isinstance(batch, list | tuple) and len(batch) > 1 else (batch,)
        return call(self.model, state, args)

    def _targets(self, batch: Batch) -> Any:
        if self.targets_of is not None:
            return self.targets_of(batch)
        if isinstance(batch, Mapping):
            return batch.get("labels")
        return batch[-1] if isinstance(batch, list | tuple) and len(batch) > 1 else None

    @staticmethod
    def _logits(outputs: Any) -> Any:
        return getattr(outputs, "logits", outputs)

    def _objective(self, outputs: "Tensor", batch: Batch) -> "Tensor":
        assert self.objective_of is not None
        return self.objective_of(outputs, self._targets(batch))

    def _loss(self, parameters: dict[str, "Tensor"], batch: Batch) -> "Tensor":
        outputs = self._call(parameters, batch)
        if self.objective_of is None:
            found = getattr(outputs, "loss", None)
            if found is None:
                raise InputError("loss=None takes the outputs' own .loss, and they have none: pass a loss")
            return found
        return self._objective(self._logits(outputs), batch)

    @contextlib.contextmanager
    def _twice_differentiable(self) -> Iterator[None]:
        """Fused attention has no second derivatives on a CPU, the math kernel has."""
        from torch.nn.attention import SDPBackend, sdpa_kernel

        with sdpa_kernel(SDPBackend.MATH):
            yield

    def loss(self, at: np.ndarray | None, batch: Batch, lane: int) -> float:
        with self.torch.no_grad(), self._twice_differentiable():
            return float(self._loss(self._parameters(self._at(at)), self._tensors(batch)))

    def _graph(self, at: np.ndarray | None, batch: Batch) -> tuple["Tensor", dict[str, "Tensor"]]:
        flat = self._at(at).detach().requires_grad_(True)
        return flat, self._parameters(flat)

    def gradient(self, at: np.ndarray | None, batch: Batch, lane: int) -> np.ndarray:
        with self._twice_differentiable():
            flat, parameters = self._graph(at, batch)
            (found,) = self.torch.autograd.grad(self._loss(parameters, self._tensors(batch)), flat)
        return self._array(found)

    def hessian(self, batch: Batch, vectors: np.ndarray, lane: int) -> np.ndarray:
        grad = self.torch.autograd.grad
        with self._twice_differentiable():
            flat, parameters = self._graph(None, batch)
            (gradient,) = grad(self._loss(parameters, self._tensors(batch)), flat, create_graph=True)
            # One graph for the stack: a product is one backward pass through the gradient's own.
            return np.stack(
                [
                    self._array(grad(gradient, flat, self._at(v), retain_graph=i + 1 < len(vectors))[0])
                    for i, v in enumerate(vectors)
                ]
            )

    def gauss_newton(self, batch: Batch, vectors: np.ndarray, lane: int) -> np.ndarray:
        torch, grad = self.torch, self.torch.autograd.grad
        with self._twice_differentiable():
            batch = self._tensors(batch)
            flat, parameters = self._graph(None, batch)
            outputs = self._logits(self._call(parameters, batch))
            # Jv as the derivative of Jᵀw in w along v; then Q; then Jᵀ again.
            w = torch.zeros_like(outputs, requires_grad=True)
            (pulled,) = grad(outputs, flat, w, create_graph=True)
            free = outputs.detach().requires_grad_(True)
            (slope,) = grad(self._objective(free, batch), free, create_graph=True)
            found = []
            for v in vectors:
                (pushed,) = grad(pulled, w, self._at(v), retain_graph=True)
                (curved,) = grad(slope, free, pushed, retain_graph=True)
                found.append(self._array(grad(outputs, flat, curved, retain_graph=True)[0]))
        return np.stack(found)

    def example_losses(self, at: np.ndarray | None, batch: Batch, lane: int) -> np.ndarray:
        with self.torch.no_grad():
            return self._each(lambda flat, one: self._loss(self._parameters(flat), one), at, batch)

    def example_gradients(
        self, at: np.ndarray | None, batch: Batch, lane: int, *, outputs: np.ndarray | None = None
    ) -> np.ndarray:
        if outputs is None:
            scalar = lambda flat, one: self._loss(self._parameters(flat), one)
        else:
            u = self.torch.from_numpy(outputs).to(self.device)
            scalar = lambda flat, one: (self._logits(self._call(self._parameters(flat), one))[0] * u).sum()
        return self._each(self.torch.func.grad(scalar), at, batch)

    def _each(self, function: Callable, at: np.ndarray | None, batch: Batch) -> np.ndarray:
        """A function of the parameters and one example, over a batch's examples."""
        torch = self.torch
        batch = self._map(lambda leaf: leaf.unsqueeze(1), self._tensors(batch))
        flat = self._at(at)
        with self._twice_differentiable():
            if self.vectorized:
                try:
                    return self._array(torch.func.vmap(function, in_dims=(None, 0))(flat, batch))
                except (RuntimeError, NotImplementedError, ValueError):
                    self.vectorized = False  # what vmap cannot take is done example by example
            singles = (self._map(lambda leaf, i=i: leaf[i], batch) for i in range(self.rows(batch)))  # type: ignore[misc]
            return np.stack([self._array(function(flat, one)) for one in singles])

    def observe(
        self, at: np.ndarray | None, batch: Batch, reduce: dict[str, Callable], lane: int
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        batch = self._tensors(batch)
        if "labels" in reduce:
            found["labels"] = reduce["labels"](self._array(self._targets(batch)))
        wanted = {name: f for name, f in reduce.items() if name != "labels"}
        if wanted:
            with self.torch.no_grad():
                seen = self._watch(at, batch, wanted)
            for name, function in wanted.items():
                layered = name in ("attention", "activations")
                found[name] = seen[name] if layered else function(self._array(seen[name]))
        return found

    def _watch(
        self,
        at: np.ndarray | None,
        batch: Batch,
        reduce: dict[str, Callable[[np.ndarray], Any]] | None = None,
    ) -> dict[str, Any]:
        """One forward pass, with what went through its attention, activations and last layer."""
        batch = self._tensors(batch)
        watch = Watch(self, reduce or {})
        with watch.on(), self._twice_differentiable():
            outputs = self._logits(self._call(self._parameters(self._at(at)), batch))
        tensor = isinstance(outputs, self.torch.Tensor)
        features = None
        if watch.last is not None:
            name, read, made = watch.last
            if self.last_layer is not None or (tensor and made.shape == outputs.shape):
                features, self.classifier_name = read, f"{name}.weight" if name else "weight"
        return {
            "outputs": outputs if tensor else None,
            "features": features,
            "attention": watch.attention,
            "activations": watch.activations,
        }

    def classifier(self, at: np.ndarray | None) -> np.ndarray:
        parameters = self._parameters(self._at(at)) | self.fixed
        return self._array(parameters[self.classifier_name])

    def _input_place(self, batch: Batch) -> Any:
        """Where the batch's inputs stand: its first array, if that is floating-point."""
        items = (
            batch.items()
            if isinstance(batch, Mapping)
            else enumerate(batch if isinstance(batch, list | tuple) else ())
        )
        for place, value in items:
            if hasattr(value, "shape"):
                value = value if isinstance(value, np.ndarray) else value.cpu().numpy()
                return place if np.issubdtype(value.dtype, np.floating) else None
        return None

    def inputs(self, batch: Batch) -> np.ndarray:
        return self._array(self._tensors(batch)[self._input_place(batch)])

    def input_gradient(self, batch: Batch, lane: int) -> np.ndarray:
        place, batch = self._input_place(batch), self._tensors(batch)
        x = batch[place].detach().requires_grad_(True)
        with self._twice_differentiable():
            loss = self._loss(self._parameters(self.own), self._replaced(batch, place, x))
            return self._array(self.torch.autograd.grad(loss, x)[0])

    def with_inputs(self, batch: Batch, inputs: Any) -> Batch:
        return self._replaced(self._tensors(batch), self._input_place(batch), self._tensors(inputs))

    @staticmethod
    def _replaced(batch: Batch, place: Any, value: Any) -> Batch:
        if isinstance(batch, Mapping):
            return {**batch, place: value}
        return tuple(value if i == place else one for i, one in enumerate(batch))

    def outputs_shape(self, batch: Batch) -> tuple[int, ...]:
        with self.torch.no_grad():
            outputs = self._logits(
                self._call(self._parameters(self.own), self._tensors(self.take(batch, 0, 1)))
            )
        return tuple(outputs.shape[1:])

    @staticmethod
    def _array(tensor: "Tensor") -> np.ndarray:
        return tensor.detach().cpu().numpy()


class Watch:
    """What goes through attention, activation functions and linear layers during a forward pass."""

    FUNCTIONS = (
        "relu",
        "gelu",
        "silu",
        "leaky_relu",
        "elu",
        "softplus",
        "hardswish",
        "mish",
        "relu6",
        "selu",
    )
    """Activation functions of `torch.nn.functional`."""
    MODULES = ("Tanh", "Sigmoid", "GELU", "ReLU", "SiLU", "ELU", "LeakyReLU", "Softplus", "Mish", "SELU")
    """And as modules."""

    def __init__(self, engine: TorchEngine, reduce: dict[str, Callable[[np.ndarray], Any]]):
        self.engine, self.torch = engine, engine.torch
        self.reduce = reduce
        self.attention: dict[str, Any] = {}
        self.activations: dict[str, Any] = {}
        self.last: tuple[str, Any, Any] | None = None
        self.where: list[str] = []
        self.within = False

    def _keep(self, kind: str, name: str, tensor: Any) -> None:
        reduction = self.reduce.get(kind)
        value = reduction(self.engine._array(tensor)) if reduction else True
        getattr(self, kind).setdefault(name, []).append(value)

    @property
    def place(self) -> str:
        """The module that is being computed."""
        return self.where[-1] if self.where and self.where[-1] else "model"

    @contextlib.contextmanager
    def _inside(self) -> Iterator[None]:
        """One watched function may call another: only the outermost counts."""
        outer, self.within = self.within, True
        try:
            yield
        finally:
            self.within = outer

    def _softmax(self, original: Callable) -> Callable:
        def softmax(tensor: Any, *args: Any, **kwargs: Any) -> Any:
            dim = args[0] if args else kwargs.get("dim")
            square = tensor.ndim == 3 and tensor.shape[-1] == tensor.shape[-2]
            if not self.within and dim in (-1, tensor.ndim - 1) and (tensor.ndim == 4 or square):
                self._keep("attention", self.place, tensor)
            with self._inside():
                return original(tensor, *args, **kwargs)

        return softmax

    def _attend(self, original: Callable) -> Callable:
        torch = self.torch

        def attend(
            q: Any,
            k: Any,
            v: Any,
            attn_mask: Any = None,
            dropout_p: float = 0.0,
            is_causal: bool = False,
            **rest: Any,
        ) -> Any:
            scale = rest.get("scale") or q.shape[-1] ** -0.5
            if rest.get("enable_gqa"):
                logits = q @ k.repeat_interleave(q.shape[-3] // k.shape[-3], -3).transpose(-1, -2) * scale
            else:
                logits = q @ k.transpose(-1, -2) * scale
            if is_causal:
                seen = torch.ones(logits.shape[-2:], dtype=torch.bool, device=logits.device).tril()
                logits = logits.masked_fill(~seen, -torch.inf)
            if attn_mask is not None:
                bools = attn_mask.dtype == torch.bool
                logits = logits.masked_fill(~attn_mask, -torch.inf) if bools else logits + attn_mask
            self._keep("attention", self.place, logits)
            return original(q, k, v, attn_mask=attn_mask, dropout_p=dropout_p, is_causal=is_causal, **rest)

        return attend

    def _activate(self, original: Callable) -> Callable:
        def activate(*args: Any, **kwargs: Any) -> Any:
            with self._inside():
                made = original(*args, **kwargs)
            if not self.within:
                self._keep("activations", self.place, made)
            return made

        return activate

    @contextlib.contextmanager
    def on(self) -> Iterator[None]:
        """Watch the passes made inside."""
        nn, functional = self.torch.nn, self.torch.nn.functional
        hooks = []

        def acts(module: Any) -> bool:
            """Whether it is an activation function as a module, PyTorch's own or a library's."""
            name = type(module).__name__
            bare = next(module.children(), None) is None and next(module.parameters(), None) is None
            return bare and (name in self.MODULES or name.endswith("Activation"))

        def enter(name: str) -> Callable:
            return lambda *_: self.where.append(name)

        def leave(name: str, module: Any) -> Callable:
            def hook(_: Any, args: Any, made: Any) -> None:
                self.where.pop()
                if (self.engine.last_layer or name) == name and (
                    isinstance(module, nn.Linear) or self.engine.last_layer
                ):
                    if args and isinstance(made, self.torch.Tensor):
                        self.last = (name, args[0], made)
                if acts(module) and name not in self.activations:
                    self._keep("activations", name, made)

            return hook

        for name, module in self.engine.model.named_modules():
            hooks.append(module.register_forward_pre_hook(enter(name)))
            hooks.append(module.register_forward_hook(leave(name, module)))
        patches = [
            mock.patch.object(functional, "softmax", self._softmax(functional.softmax)),
            mock.patch.object(self.torch, "softmax", self._softmax(self.torch.softmax)),
            mock.patch.object(self.torch.Tensor, "softmax", self._softmax(self.torch.Tensor.softmax)),
            mock.patch.object(
                functional,
                "scaled_dot_product_attention",
                self._attend(functional.scaled_dot_product_attention),
            ),
            *(
                mock.patch.object(functional, name, self._activate(getattr(functional, name)))
                for name in self.FUNCTIONS
            ),
            *(
                mock.patch.object(self.torch, name, self._activate(getattr(self.torch, name)))
                for name in ("relu", "tanh", "sigmoid")
            ),
        ]
        fast = self.torch.backends.mha.get_fastpath_enabled()
        with contextlib.ExitStack() as stack:
            for patch in patches:
                stack.enter_context(patch)
            self.torch.backends.mha.set_fastpath_enabled(False)  # the fused layer shows nothing of its inside
            try:
                yield
            finally:
                self.torch.backends.mha.set_fastpath_enabled(fast)
                for hook in hooks:
                    hook.remove()


def _refuse(model: "nn.Module", torch: Any) -> None:
    """Raise for a model that cannot be measured."""
    if not isinstance(model, torch.nn.Module):
        raise InputError(f"model is {type(model).__name__}: expected a torch.nn.Module")
    for name, module in model.named_modules():
        if module.training:
            where = f" (in {name!r})" if name and not model.training else ""
            raise InputError(
                f"the model is in training mode{where}: call model.eval() first, so that every measurement sees the "
                "same function"
            )
    trainable = 0
    for name, parameter in model.named_parameters():
        if not parameter.is_floating_point():
            raise InputError(
                f"parameter {name} is {str(parameter.dtype).removeprefix('torch.')}: only floating-point parameters "
                "have gradients; load the model without quantization"
            )
        if parameter.dtype.itemsize < 4:
            raise InputError(
                f"parameter {name} is {str(parameter.dtype).removeprefix('torch.')}: curvature needs 32 bits; call "
                "model.float()"
            )
        trainable += parameter.requires_grad
    if not trainable:
        raise InputError("no parameter requires gradients: call model.requires_grad_(True)")
