"""A small transformer whose learning rate creeps up until it breaks: seen in the probe before the loss shows it.

armillary probe probe_drift.py:step_300 --only health --only sharpness
"""

import csv

import torch
from torch import nn
from torch.nn import functional

from armillary import probe
from armillary.data import SYMBOLS, library_text

CONTEXT, WIDTH, HEADS, HIGHEST = 32, 32, 2, 0.2
text = torch.from_numpy(library_text(200_000)).long()


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.before, self.between = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 4 * WIDTH), nn.GELU(), nn.Linear(4 * WIDTH, WIDTH))

    def forward(self, x):
        parts = self.qkv(self.before(x)).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.mlp(self.between(x))


class Characters(nn.Module):
    """The next character of Python's standard library, from the 32 before it."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(len(SYMBOLS), WIDTH)
        self.positions = nn.Parameter(0.1 * torch.randn(CONTEXT, WIDTH))
        self.blocks = nn.Sequential(Block(), Block())
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, len(SYMBOLS))

    def forward(self, tokens):
        return self.head(self.norm(self.blocks(self.embedding(tokens) + self.positions)))


def cross_entropy(outputs, targets):
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def draw(rows, generator):
    window = torch.randint(0, len(text) - CONTEXT - 1, (rows, 1), generator=generator)
    window = text[window + torch.arange(CONTEXT + 1)]
    return window[:, :-1], window[:, 1:]


def train(steps):
    """Adam with a rate that grows from 0 to 0.2 over 600 steps: the model, its state after 100, the losses."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    model, early, losses = Characters(), None, []
    optimizer = torch.optim.Adam(model.parameters())
    for step in range(steps):
        if step == 100:
            early = {name: value.clone() for name, value in model.state_dict().items()}
        optimizer.param_groups[0]["lr"] = HIGHEST * (step + 1) / 600
        tokens, targets = draw(32, generator)
        loss = cross_entropy(model(tokens), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return model.eval(), early, losses


def problem(steps):
    model, early, losses = train(steps)
    print(f"mean loss of steps {steps - 50} to {steps}: {sum(losses[-50:]) / 50:.2f}", flush=True)
    batches = [draw(32, torch.Generator().manual_seed(seed)) for seed in range(1, 9)]
    return probe.from_torch(model, cross_entropy, batches, start=early)


def step_200():
    return problem(200)


def step_300():
    return problem(300)


def step_500():
    return problem(500)


if __name__ == "__main__":  # writes the loss curve, for `armillary probe --log`
    with open("loss.csv", "w", newline="") as file:
        csv.writer(file).writerows([["step", "loss"], *enumerate(train(300)[2])])
