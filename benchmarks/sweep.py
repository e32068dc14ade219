"""64 runs (8 seeds × 8 learning rates) through `armillary.sweep` against the loop an author writes in PyTorch.

Same network, data, batch and number of steps; PyTorch at its best thread setting. Prints one line of JSON:
`ratio` is PyTorch's time a run-step over armillary's, warm (at least 50 is good); compiling is stated apart.
Needs the extra `armillary[torch]`.
"""

import argparse
import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def pytorch(steps: int, threads: int) -> float:
    """Seconds a run-step of the ordinary eager loop."""
    import torch
    from workload import BATCH, SIZES, load

    torch.set_num_threads(threads)
    data = {k: torch.from_numpy(v) for k, v in load().items()}
    torch.manual_seed(0)
    layers = []
    for into, out in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(into, out), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def train(count: int) -> None:
        for _ in range(count):
            rows = torch.randint(len(data["x"]), (BATCH,))
            loss = torch.nn.functional.mse_loss(model(data["x"][rows])[:, 0], data["y"][rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    train(100)
    start = time.perf_counter()
    train(steps)
    return (time.perf_counter() - start) / steps


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
        ours, theirs = [], {threads: [] for threads in settings}
        for i in range(1, rounds + 1):  # in turn, so that both see the same machine
            ours.append(sweep(i) / (SEEDS * len(RATES) * STEPS))
            for threads in settings:
                theirs[threads].append(pytorch(1_000, threads))
    best = min(settings, key=lambda threads: sorted(theirs[threads])[rounds // 2])
    own, other = sorted(ours)[rounds // 2], sorted(theirs[best])[rounds // 2]
    print(
        json.dumps(
            {
                "benchmark": "sweep",
                "ratio": round(other / own, 1),
                "armillary_microseconds_per_run_step": round(own * 1e6, 2),
                "pytorch_microseconds_per_run_step": round(other * 1e6, 1),
                "pytorch_threads": best,
                "compile_seconds": round(first - own * SEEDS * len(RATES) * STEPS, 2),
                "cores": cores,
            }
        )
    )


if __name__ == "__main__":
    main()
