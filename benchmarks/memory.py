"""64 seeds × 64 learning rates of a small transformer under a cap, and what plain vmap over all of them would take.

Prints one line of JSON. `ratio` is what the naive program's buffers would take (as XLA says when it has compiled it;
it is not run) over the most that this process had at any time; `estimate_over_taken` is the memory that was
announced before the first chunk over that most (0.5 to 2 is good), and `estimate_over_taken_by_runs` the same without
what the process had already before it planned. `within_cap` says whether the cap held.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile

import jax
import numpy as np
import optax

from armillary.lab import Study
from armillary.nn import Transformer
from armillary.train import fit


def experiment(key, *, rate=1e-2, steps=4, context=32, width=32, layers=2, batch=16, vocabulary=32):
    """A decoder transformer learns to repeat the last token but one."""
    k_init, k_fit = jax.random.split(key)
    model = Transformer(k_init, vocabulary=vocabulary, context=context, layers=layers, width=width)

    def loss(model, tokens):
        logits = jax.vmap(model)(tokens)[:, 1:]
        return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[:, :-1]).mean()

    def draw(key):
        return jax.random.randint(key, (batch, context), 0, vocabulary)

    trained = fit(loss, model, draw, optax.adam(rate), steps=steps, key=k_fit)
    return {"loss": trained.loss}


study = Study(experiment, dims={"loss": ("step",)})


def naive(seeds: int, rates: np.ndarray, **sizes: int) -> int:
    """Bytes that jit(vmap(vmap)) over all runs takes for its buffers, from its compiled program."""
    one = lambda seed, rate: experiment(jax.random.key(seed), rate=rate, **sizes)
    program = jax.jit(jax.vmap(jax.vmap(one, (None, 0)), (0, None)))
    found = program.lower(np.arange(seeds, dtype=np.uint32), rates.astype(np.float32)).compile()
    analysis = found.memory_analysis()
    return analysis.temp_size_in_bytes + analysis.output_size_in_bytes


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def swept(seeds: int, rates: np.ndarray, memory: int, sizes: dict) -> dict:
    """The sweep through the lab, in this process."""
    from armillary.lab import catalogue, settings
    from armillary.lab.plan import Plan, devices, resident
    from armillary.lab.sweep import sweep

    jax.device_put(np.zeros(1), devices()[0]).block_until_ready()
    before = resident()
    arms = settings.arms(study, "quick", {"rate": rates, **sizes})
    found = sweep(catalogue.find(study), arms, range(seeds), plan=Plan(memory=memory))
    return {
        "before": before,
        "estimate": found.memory,
        "peak": peak(),
        "seconds": found.seconds,
        "plan": found.plan,
        "finite": bool(np.isfinite(found.data["default"].loss).all()),
    }


def apart(call: str) -> dict:
    """What a call gives, computed in a fresh process with a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--call", call],
            env=os.environ | {"ARMILLARY_HOME": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller batches and one step a run, under 60 s")
    parser.add_argument("--memory", default="2GB", help="the cap")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    args = parser.parse_args()
    from armillary.lab.plan import parse_bytes

    rates = np.geomspace(1e-4, 1e-1, 64)
    if args.call:
        asked = json.loads(args.call)
        what = asked.pop("what")
        if what == "naive":
            print(json.dumps(naive(64, rates, **asked)))
        else:
            print(json.dumps(swept(64, rates, asked["memory"], asked["sizes"])))
        return
    cap = parse_bytes(args.memory)
    sizes = {"steps": 1, "batch": 48} if args.quick else {"steps": 4, "batch": 256}
    plain = apart(json.dumps({"what": "naive", **sizes}))
    capped = apart(json.dumps({"what": "swept", "memory": cap, "sizes": sizes}))
    taken, estimate, before = capped["peak"], capped["estimate"], capped["before"]
    print(
        json.dumps(
            {
                "benchmark": "memory",
                "ratio": round(plain / taken, 1),
                "naive_gigabytes": round(plain / 1e9, 2),
                "cap_gigabytes": cap / 1e9,
                "peak_gigabytes": round(taken / 1e9, 3),
                "within_cap": taken <= cap,
                "estimate_over_taken": round(estimate / taken, 2),
                "estimate_over_taken_by_runs": round((estimate - before) / (taken - before), 2),
                "seconds": round(capped["seconds"], 1),
                "runs": 64 * 64,
                "plan": capped["plan"][-1].strip(),
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
