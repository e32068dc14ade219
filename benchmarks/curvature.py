"""A Hessian's spectral density, 8 probes × 30 Lanczos steps, against hessian-eigenthings and curvlinops.

Two networks over real digits, with the same weights everywhere: a 64-128-128-10 tanh network over all 1,797, and a
small transformer that reads an image as its eight rows, over 128. Each contender runs in a fresh process, warm, at
each thread setting, and the best setting counts; contenders take turns, so that all see the same machine. Peers, whose
probes go one after another, run two of the eight, and their time is multiplied by four. Prints one line of JSON:
`ratio` is the faster peer's time over armillary's for a JAX problem (at least 5 is good), `torch_ratio` the same for a
PyTorch problem (at least 1), the lower of the two networks' each. Compiling and the ratio on one device are stated
apart. The largest eigenvalues must agree to 1e-3, or it ends with status 1.

pip install 'armillary[bench]'
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

PROBES, STEPS = 8, 30
PEER_PROBES = 2
"""What peers run, scaled to 8: they do one probe after another."""
ROWS = {"mlp": 1797, "transformer": 128}
HEADS = 4
AGREE = 1e-3


def mlp(p, x, softmax, tanh, swap):
    for i in range(2):
        x = tanh(x @ p[f"w{i}"] + p[f"b{i}"])
    return x @ p["w2"] + p["b2"]


def transformer(p, x, softmax, tanh, swap):
    """Two layers of attention and MLP over the image's rows, each a token of eight pixels; the mean is read."""
    x = x.reshape(len(x), 8, 8) @ p["embedding"] + p["positions"]
    split = lambda z: swap(z.reshape(len(z), 8, HEADS, -1), 1, 2)
    for i in range(2):
        q, k, v = (split(norm(x) @ p[f"{n}{i}"]) for n in ("query", "key", "value"))
        mixed = softmax(q @ swap(k, 2, 3) / math.sqrt(q.shape[-1])) @ v
        x = x + swap(mixed, 1, 2).reshape(x.shape) @ p[f"out{i}"]
        x = x + tanh(norm(x) @ p[f"up{i}"]) @ p[f"down{i}"]
    return norm(x).mean(1) @ p["head"]


def norm(x):
    x = x - x.mean(-1)[..., None]
    return x / ((x**2).mean(-1)[..., None] + 1e-6) ** 0.5


NETWORKS = {"mlp": mlp, "transformer": transformer}


def shapes(network: str) -> dict[str, tuple[int, ...]]:
    if network == "mlp":
        sizes = (64, 128, 128, 10)
        weights = {f"w{i}": sizes[i : i + 2] for i in range(3)}
        return weights | {f"b{i}": sizes[i + 1 : i + 2] for i in range(3)}
    found: dict[str, tuple[int, ...]] = {"embedding": (8, 32), "positions": (8, 32), "head": (32, 10)}
    for i in range(2):
        found |= {f"{n}{i}": (32, 32) for n in ("query", "key", "value", "out")}
        found |= {f"up{i}": (32, 128), f"down{i}": (128, 32)}
    return found


def in_torch(network: str, arrays):
    """The network as a module, its criterion, and its data."""
    import torch

    class Network(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.p = torch.nn.ParameterDict(
                {n: torch.nn.Parameter(torch.from_numpy(arrays[n])) for n in shapes(network)}
            )

        def forward(self, x):
            softmax = lambda z: torch.softmax(z, -1)
            return NETWORKS[network](self.p, x, softmax, torch.tanh, torch.swapaxes)

    data = torch.from_numpy(arrays["x"]), torch.from_numpy(arrays["y"])
    return Network().eval(), torch.nn.CrossEntropyLoss(), data


def prepare(network: str, path: Path) -> None:
    """Train for a moment, so that the spectrum is that of a network that has learned, and save."""
    import numpy as np
    import torch
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    x, y = load_digits(return_X_y=True)
    arrays = {
        n: (rng.standard_normal(s) / math.sqrt(s[0] if len(s) > 1 else 1e6)).astype("float32")
        for n, s in shapes(network).items()
    }
    arrays |= {"x": (x[: ROWS[network]] / 16).astype("float32"), "y": y[: ROWS[network]]}
    model, criterion, (x, y) = in_torch(network, arrays)
    optimizer = torch.optim.Adam(model.parameters(), 0.003)
    for _ in range(60):
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
    trained = {n: p.detach().numpy() for n, p in model.p.items()}
    np.savez(path, **arrays | trained)


def work(contender: str, network: str, path: str, threads: int, rounds: int, probes: int) -> None:
    """One contender, in this process: seconds of the first time and of each warm one, and the largest eigenvalue."""
    import numpy as np

    arrays = dict(np.load(path))
    first = warm = None
    if contender == "jax":
        import jax

        jax.config.update("jax_num_cpu_devices", threads)
    else:
        import torch

        torch.set_num_threads(threads)
        torch.manual_seed(0)
    if contender in ("jax", "torch"):
        from armillary import probe

        if contender == "jax":
            import jax.numpy as jnp

            from armillary.measure import cross_entropy

            softmax = lambda z: jax.nn.softmax(z, -1)
            function = lambda p, x: NETWORKS[network](p, x, softmax, jnp.tanh, jnp.swapaxes)
            params = {n: jnp.asarray(arrays[n]) for n in shapes(network)}
            problem = probe.from_jax(
                lambda p, b: cross_entropy(function(p, b[0]), b[1]), params, [(arrays["x"], arrays["y"])]
            )
        else:
            model, criterion, data = in_torch(network, arrays)
            problem = probe.from_torch(model, criterion, [data])

        def density(count):
            report = probe.examine(problem, only=["spectrum"], budget=None)
            return float(np.max(report["eigenvalues above"].detail["nodes"]))

        probes = PROBES
    else:
        model, criterion, data = in_torch(network, arrays)
        if contender == "hessian-eigenthings":
            import hessian_eigenthings as peer

            operator = peer.HessianOperator(model, [data], peer.supervised_loss(criterion))

            def density(count):
                found = peer.spectral_density(operator, num_runs=count, lanczos_steps=STEPS, seed=0)
                return float(found.raw_eigenvalues.nan_to_num(-math.inf).max())

        else:
            import curvlinops as peer
            from scipy.sparse.linalg import eigsh

            parameters = list(model.parameters())
            operator = peer.HessianLinearOperator(
                model, criterion, parameters, [data], check_deterministic=False
            )
            largest = float(eigsh(operator.to_scipy(), k=1, which="LA", tol=1e-4)[0][0])

            def density(count):  # the spectrum's ends are given, which saves it looking for them
                ends = (-largest, largest)
                peer.lanczos_approximate_spectrum(operator, STEPS, num_repeats=count, boundaries=ends)
                return largest

    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        top = density(probes)
        seconds.append((time.perf_counter() - began) * PROBES / probes)
    first, *warm = seconds
    print(json.dumps({"first": first, "warm": warm, "largest": top}))


def fresh(*arguments: object) -> dict:
    """What `work` prints in a process of its own."""
    command = [sys.executable, __file__, "--work", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def compare(network: str, folder: Path, quick: bool) -> dict:
    path = folder / f"{network}.npz"
    prepare(network, path)
    cores = len(os.sched_getaffinity(0))
    settings = sorted({1, cores})
    contenders = ("jax", "torch", "hessian-eigenthings", "curvlinops")
    seen: dict[str, dict[int, list[float]]] = {c: {t: [] for t in settings} for c in contenders}
    largest: dict[str, float] = {}
    compiling = math.inf
    for _ in range(1 if quick else 3):
        for contender in contenders:
            for threads in settings:
                own = contender in ("jax", "torch")
                probes = PROBES if own else 1 if quick else PEER_PROBES
                rounds = (2 if own else 1) if quick else 3 if own else 1
                found = fresh(contender, network, path, threads, rounds, probes)
                seen[contender][threads] += found["warm"]
                largest[contender] = found["largest"]
                if contender == "jax" and threads == cores:
                    compiling = min(compiling, found["first"] - statistics.median(found["warm"]))
    medians = {c: {t: statistics.median(v) for t, v in s.items()} for c, s in seen.items()}
    best = {c: min(m, key=m.__getitem__) for c, m in medians.items()}
    seconds = {c: medians[c][best[c]] for c in contenders}
    peer = min(seconds["hessian-eigenthings"], seconds["curvlinops"])
    tops = list(largest.values())
    return {
        "ratio": round(peer / medians["jax"][cores], 2),
        "one_device_ratio": round(peer / medians["jax"][1], 2),
        "torch_ratio": round(peer / seconds["torch"], 2),
        "seconds": {c: round(s, 3) for c, s in seconds.items()} | {"jax": round(medians["jax"][cores], 3)},
        "threads": {c: t for c, t in best.items() if c != "jax"},
        "compile_seconds": round(compiling, 2),
        "largest_eigenvalues": {c: round(v, 5) for c, v in largest.items()},
        "agree": max(tops) - min(tops) <= AGREE * max(tops),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="peers run one probe, and all once; about 60 s")
    parser.add_argument("--work", nargs=6, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        contender, network, path, *numbers = args.work
        return work(contender, network, path, *map(int, numbers))
    with tempfile.TemporaryDirectory() as folder:
        found = {network: compare(network, Path(folder), args.quick) for network in NETWORKS}
    print(
        json.dumps(
            {
                "benchmark": "curvature",
                "ratio": min(f["ratio"] for f in found.values()),
                "torch_ratio": min(f["torch_ratio"] for f in found.values()),
                "one_device_ratio": min(f["one_device_ratio"] for f in found.values()),
                **found,
                "cores": len(os.sched_getaffinity(0)),
                "versions": {n: version(n) for n in ("hessian-eigenthings", "curvlinops-for-pytorch", "torch", "jax")},
            }
        )
    )  # fmt: skip
    if not all(f["agree"] for f in found.values()):
        sys.exit("the largest eigenvalues differ")


if __name__ == "__main__":
    main()
