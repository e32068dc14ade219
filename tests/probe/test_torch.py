"""PyTorch modules of all kinds: batch norm, shared weights, attention, outputs with logits, what cannot be vmapped."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from armillary import InputError, probe
from armillary.measure.attention import largest_logit
from armillary.probe.health import attention_summary

CE = functional.cross_entropy


def explicit(model, loss):
    """The Hessian by `torch.func.hessian`, parameters flat in their order."""
    named = dict(model.named_parameters())
    sizes = [p.numel() for p in named.values()]

    def function(flat):
        parts = {n: part.view(p.shape) for (n, p), part in zip(named.items(), flat.split(sizes))}
        return loss(lambda *a: torch.func.functional_call(model, parts, a))

    return (
        torch.func.hessian(function)(torch.cat([p.detach().ravel() for p in named.values()])).detach().numpy()
    )


def check_products(problem, matrix):
    vectors = np.random.default_rng(0).standard_normal((3, problem.size), np.float32)
    scale = np.abs(matrix).max()
    np.testing.assert_allclose(problem.hessian(vectors), vectors @ matrix, atol=2e-4 * scale, rtol=1e-3)


def images(rows=12):
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((rows, 1, 8, 8), np.float32))
    return x, torch.from_numpy(rng.integers(0, 3, rows))


def convolutional():
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(16, 3),
    )
    x, y = images(64)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(5):  # running statistics that are not their initial values
        optimizer.zero_grad()
        CE(net(x), y).backward()
        optimizer.step()
    return net.eval()


def test_batch_norm_in_eval_mode():
    net, (x, y) = convolutional(), images()
    problem = probe.from_torch(net, CE, [(x[:5], y[:5]), (x[5:], y[5:])])
    check_products(problem, explicit(net, lambda call: CE(call(x), y)))
    assert problem.separable
    assert problem.has("features", "classifier", "labels", "inputs", "activations", "logits", "objective")
    report = probe.examine(problem, budget=None)
    assert not report.failed
    dead = report["dead hidden units"]
    assert list(dead.detail["dead"]) == ["2"]


class Tied(nn.Module):
    """Embedding and unembedding share their weights."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 5)
        self.hidden = nn.Linear(5, 5)
        self.out = nn.Linear(5, 7, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, tokens):
        return self.out(torch.tanh(self.hidden(self.embedding(tokens))).mean(1))


def test_shared_weights_are_one_parameter():
    torch.manual_seed(0)
    net = Tied().eval()
    tokens, labels = torch.randint(0, 7, (8, 3)), torch.randint(0, 7, (8,))
    problem = probe.from_torch(net, CE, [(tokens, labels)])
    assert problem.size == 7 * 5 + 5 * 5 + 5
    check_products(problem, explicit(net, lambda call: CE(call(tokens), labels)))
    report = probe.examine(problem, only=["sharpness", "noise", "inputs"], budget=None)
    assert report.lacking[0]["lacks"].startswith("floating-point inputs")


class Encoder(nn.Module):
    """Attention by the fused function, outputs in an object, as transformers have them."""

    def __init__(self, causal=False):
        super().__init__()
        self.embedding = nn.Embedding(9, 8)
        self.qkv = nn.Linear(8, 24)
        self.head = nn.Linear(8, 3)
        self.causal = causal

    def heads(self, input_ids):
        x = self.embedding(input_ids)
        return [part.unflatten(-1, (2, 4)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1)]

    def forward(self, input_ids, attention_mask=None, labels=None):
        q, k, v = self.heads(input_ids)
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        made = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=self.causal)
        logits = self.head(made.transpose(1, 2).flatten(2).mean(1))
        return SimpleNamespace(logits=logits, loss=None if labels is None else CE(logits, labels))


def sentences(rows=10):
    torch.manual_seed(1)
    ids, labels = torch.randint(0, 9, (rows, 6)), torch.randint(0, 3, (rows,))
    mask = (torch.arange(6) < torch.randint(3, 7, (rows, 1))).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


@pytest.mark.parametrize("loss", [CE, None], ids=["own loss", "the outputs' loss"])
def test_outputs_with_logits_and_batches_by_name(loss):
    torch.manual_seed(0)
    net, batch = Encoder().eval(), sentences()
    problem = probe.from_torch(
        net, loss, [{n: v[:4] for n, v in batch.items()}, {n: v[4:] for n, v in batch.items()}]
    )
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        matrix = explicit(
            net, lambda call: CE(call(batch["input_ids"], batch["attention_mask"]).logits, batch["labels"])
        )
    check_products(problem, matrix)
    assert problem.has("attention", "outputs", "labels")
    assert problem.has("objective") == (loss is CE)
    report = probe.examine(problem, only=["curvature", "noise", "attention"], budget=None)
    assert not report.failed
    q, k, _ = net.heads(batch["input_ids"])
    logits = (q @ k.transpose(-1, -2) / 2).detach().numpy()
    seen = np.broadcast_to(batch["attention_mask"].numpy()[:, None, None, :], logits.shape) > 0
    np.testing.assert_allclose(report["largest attention logit"].value, np.abs(logits[seen]).max(), rtol=1e-5)
    weights = torch.softmax(torch.from_numpy(np.where(seen, logits, -np.inf)), -1).double().numpy()
    entropy = -(weights * np.log(np.where(weights > 0, weights, 1))).sum(-1) / np.log(seen.sum(-1))
    np.testing.assert_allclose(report["attention entropy"].value, entropy.mean(), rtol=1e-5)


def test_causal_attention_is_seen_with_its_mask():
    torch.manual_seed(0)
    net, batch = Encoder(causal=True).eval(), sentences()
    problem = probe.from_torch(
        net, CE, [{n: batch[n] for n in ("input_ids", "labels")}], forward=lambda m, b: m(b["input_ids"])
    )
    found = probe.examine(problem, only=["attention"])["largest attention logit"]
    q, k, _ = net.heads(batch["input_ids"])
    np.testing.assert_allclose(
        found.value, largest_logit((q @ k.transpose(-1, -2) / 2).detach().numpy()), rtol=1e-5
    )


@pytest.mark.parametrize("weights", [True, False])
def test_pytorch_s_own_attention_is_seen(weights):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.attention(x, x, x, need_weights=weights)[0].mean(1))

    torch.manual_seed(0)
    net = Net().eval()
    x, y = torch.randn(6, 5, 8), torch.randint(0, 3, (6,))
    problem = probe.from_torch(net, CE, [(x, y)])
    found = probe.examine(problem, only=["attention"])["largest attention logit"]
    w, b = net.attention.in_proj_weight, net.attention.in_proj_bias
    q, k, _ = ((x @ w.T + b).chunk(3, -1)[i].unflatten(-1, (2, 4)).transpose(1, 2) for i in range(3))
    np.testing.assert_allclose(found.value, float((q @ k.transpose(-1, -2) / 2).abs().max()), rtol=1e-4)
    assert list(found.detail["logits"]) == ["attention"]


def test_the_library_s_encoder_layers_are_seen_and_left_as_they_were():
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    net = nn.Sequential(nn.TransformerEncoder(layer, 2), nn.Flatten(), nn.Linear(40, 3)).eval()
    x, y = torch.randn(6, 5, 8), torch.randint(0, 3, (6,))
    before = (
        functional.softmax,
        functional.scaled_dot_product_attention,
        torch.backends.mha.get_fastpath_enabled(),
    )
    report = probe.examine(probe.from_torch(net, CE, [(x, y)]), only=["health"], budget=None)
    assert len(report["largest attention logit"].detail["logits"]) == 2
    assert (
        functional.softmax,
        functional.scaled_dot_product_attention,
        torch.backends.mha.get_fastpath_enabled(),
    ) == before
    assert not report.failed


def test_what_cannot_be_vmapped_is_done_example_by_example():
    class Branching(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 3)

        def forward(self, x):
            return self.layer(x) if x.sum().item() > -1e9 else x  # .item() is no thing for vmap

    torch.manual_seed(0)
    x, y = torch.randn(7, 4), torch.randint(0, 3, (7,))
    problem = probe.from_torch(Branching().eval(), CE, [(x, y)])
    found = np.concatenate(list(problem.example_gradients(1e9)))
    assert not problem.engine.vectorized
    np.testing.assert_allclose(found.mean(0), problem.gradient(), atol=1e-6)
    assert found.shape == (7, 15)


def test_summary_of_attention_where_all_is_masked_but_one():
    logits = np.full((1, 1, 2, 2), -np.inf)
    logits[..., 0, 0] = 3.0
    logits[..., 1, :] = [0.0, 0.0]
    found = attention_summary(logits)
    assert found["largest"] == 3.0
    assert found["queries"] == 1
    assert found["entropy"] == pytest.approx(1)


def test_frozen_parameters_are_left_out():
    net = nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 3)).eval()
    net[0].requires_grad_(False)
    problem = probe.from_torch(net, CE, [(torch.randn(6, 4), torch.randint(0, 3, (6,)))])
    assert [leaf.name for leaf in problem.leaves] == ["1.weight", "1.bias"]


def quantized():
    net = nn.Linear(4, 3)
    net.weight = nn.Parameter(torch.ones(3, 4, dtype=torch.int8), requires_grad=False)
    return net


@pytest.mark.parametrize(
    ("model", "options", "words"),
    [
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Dropout()), {}, "training mode: call model.eval()"),
        (lambda: nn.Sequential(nn.Linear(4, 3), nn.Sequential().train()).eval().requires_grad_(False), {}, "no parameter requires gradients"),
        (lambda: quantized().eval(), {}, "weight is int8"),
        (lambda: nn.Linear(4, 3).bfloat16().eval(), {}, "weight is bfloat16"),
        (lambda: lambda x: x, {}, "expected a torch.nn.Module"),
        (lambda: nn.Linear(4, 3).eval(), {"start": {"weight": torch.ones(3, 4)}}, "no parameter 'bias'"),
        (lambda: nn.Linear(4, 3).eval(), {"other": nn.Linear(4, 2)}, "weight has another shape"),
        (lambda: nn.Linear(4, 3).eval(), {"last_layer": "heads"}, "no module 'heads'"),
        (lambda: nn.Linear(4, 3).eval(), {"loss": None}, "they have none: pass a loss"),
    ],
)  # fmt: skip
def test_what_cannot_be_measured_is_one_clear_line(model, options, words):
    batch = torch.randn(6, 4), torch.randint(0, 3, (6,))
    options = {"loss": CE} | options
    with pytest.raises(InputError) as error:
        probe.from_torch(model(), options.pop("loss"), [batch], **options)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_module_left_in_training_inside_an_eval_model():
    net = nn.Sequential(nn.Linear(4, 3), nn.Dropout()).eval()
    net[1].train()
    with pytest.raises(InputError, match="training mode \\(in '1'\\)"):
        probe.from_torch(net, CE, [(torch.randn(6, 4), torch.randint(0, 3, (6,)))])


def test_other_running_statistics_are_refused():
    net, other = convolutional(), convolutional()
    other[1].running_mean += 1
    with pytest.raises(InputError, match=r"buffer 1\.running_mean differs"):
        probe.from_torch(net, CE, [images()], other=other)


def test_a_shuffling_loader_is_found_out():
    x, y = torch.randn(40, 4), torch.randint(0, 3, (40,))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 8, shuffle=True)
    with pytest.raises(InputError, match="batch 1 differs from its first pass"):
        probe.from_torch(nn.Linear(4, 3).eval(), CE, loader)
    still = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), 8)
    assert probe.from_torch(nn.Linear(4, 3).eval(), CE, still).examples == 40


def test_a_loss_that_is_not_finite():
    x, y = torch.randn(6, 4), torch.randint(0, 3, (6,))
    x[4] = torch.nan
    with pytest.raises(InputError, match="loss is nan on batch 2"):
        probe.from_torch(nn.Linear(4, 3).eval(), CE, [(x[:3], y[:3]), (x[3:], y[3:])])


def test_without_pytorch(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'armillary\[torch\]'"):
        probe.from_torch(None, None, [])
