"""64 runs (8 seeds × 8 learning rates) through `armillary.sweep` against the loop an author writes in PyTorch.

Same network, data, batch and number of steps; PyTorch at its best thread setting. Prints one line of JSON, times
warm, compiling apart. `ratio` is PyTorch's time a run-step over armillary's (at least 50 is good), for the loop of
PyTorch's tutorials: `DataLoader`, `zero_grad`, `backward`, `step`, `loss.item()`. `ratio_lean` is the same for a loop
that draws its batches by indexing tensors and reads no loss; `ratio_arithmetic` for a program that does nothing but
the step's matrix products, at the speed of this machine's 64 × 64 product on every core: `ratio_lean`'s limit.
Needs the extra `armillary[torch]`.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytorch(steps: int, threads: int, lean: bool) -> float:
    """Seconds a run-step of an eager loop."""
    import torch
    from workload import BATCH, SIZES, load

    torch.set_num_threads(threads)
    x, y = (torch.from_numpy(a) for a in load().values())
    torch.manual_seed(0)
    layers = []
    for into, out in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), BATCH, shuffle=True)
    losses = []

    def step(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(model(x)[:, 0], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    def train(count: int) -> None:
        if lean:
            for _ in range(count):
                rows = torch.randint(len(x), (BATCH,))
                step(x[rows], y[rows])
            return
        for _ in range(count // len(loader)):
            for batch in loader:
                losses.append(step(*batch).item())

    train(2 * len(loader))
    steps -= steps % len(loader)
    start = time.perf_counter()
    train(steps)
    return (time.perf_counter() - start) / steps


def arithmetic(cores: int) -> float:
    """Seconds that a run-step's matrix products take on all cores, at XLA's best rate for 64 × 64 × 64 on one."""
    import jax
    import jax.numpy as jnp
    from workload import BATCH, SIZES

    count, lanes = 500, 8
    a = jnp.full((lanes, 64, 64), 1 / 64)
    chain = jax.jit(lambda a: jax.lax.scan(lambda b, _: (a @ b, None), a, None, length=count)[0])
    times = []
    for _ in range(8):
        start = time.perf_counter()
        chain(a).block_until_ready()
        times.append((time.perf_counter() - start) / (count * lanes))
    weights = [into * out for into, out in itertools.pairwise(SIZES)]
    # Forward, the weights' gradient, and the gradient of every layer's inputs but the first's.
    products = BATCH * (3 * sum(weights) - weights[0])
    return min(times) * products / 64**3 / cores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 60 s")
    args = parser.parse_args()
    rounds = 3 if args.quick else 7
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ARMILLARY_HOME"] = folder
        from workload import RATES, SEEDS, STEPS, study

        import armillary

        def sweep(first: int) -> float:
            start = time.perf_counter()
            armillary.sweep(study, {"rate": RATES}, seeds=SEEDS, first_seed=first * SEEDS)
            return time.perf_counter() - start

        first = sweep(0)
        cores = len(os.sched_getaffinity(0))
        settings = sorted({1, cores})
        ours, theirs = [], {(lean, threads): [] for lean in (False, True) for threads in settings}
        for i in range(1, rounds + 1):  # in turn, so that both see the same machine
            ours.append(sweep(i) / (SEEDS * len(RATES) * STEPS))
            for (lean, threads), times in theirs.items():
                times.append(pytorch(1_000, threads, lean))
    own = statistics.median(ours)
    best = {
        lean: min((statistics.median(theirs[lean, threads]), threads) for threads in settings)
        for lean in (False, True)
    }
    print(
        json.dumps(
            {
                "benchmark": "sweep",
                "ratio": round(best[False][0] / own, 1),
                "ratio_lean": round(best[True][0] / own, 1),
                "ratio_arithmetic": round(best[True][0] / arithmetic(cores), 1),
                "armillary_microseconds_per_run_step": round(own * 1e6, 2),
                "pytorch_microseconds_per_run_step": round(best[False][0] * 1e6, 1),
                "pytorch_threads": best[False][1],
                "compile_seconds": round(first - own * SEEDS * len(RATES) * STEPS, 2),
                "cores": cores,
            }
        )
    )


if __name__ == "__main__":
    main()
