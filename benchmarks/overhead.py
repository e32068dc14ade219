"""What the lab costs: the same 64 runs through `armillary.sweep`, by hand-written JAX, and by jit(vmap(scan)).

The hand-written program is the best we know for it: one compiled program a CPU core, each fed chunks by its own
thread. Every contender runs in a fresh process of its own, in turn; times are warm (the second call on), compile
apart. Prints one line of JSON: `ratio` is armillary over hand-written (at most 1.05 is good), `over_vmap` is
jit(vmap(scan)) over armillary (at least 2 is good, on two cores).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))


def through_armillary(calls: int) -> dict:
    from workload import RATES, SEEDS, study

    import armillary

    def call(i: int) -> None:
        armillary.sweep(study, {"rate": RATES}, seeds=SEEDS, first_seed=i * SEEDS)

    return timed(call, calls)


def by_hand(calls: int, chunk: int) -> dict:
    import threading

    import jax
    import numpy as np

    cores = len(os.sched_getaffinity(0))
    jax.config.update("jax_num_cpu_devices", cores)
    from workload import RATES, SEEDS, experiment, load

    devices = jax.devices()
    data = [jax.device_put(load(), d) for d in devices]
    program = jax.jit(
        lambda seeds, rates, data: jax.vmap(lambda s, r: experiment(jax.random.key(s), data, rate=r))(
            seeds, rates
        )
    )

    def call(i: int) -> None:
        seeds, rates = (a.ravel() for a in np.meshgrid(np.arange(SEEDS) + i * SEEDS, RATES, indexing="ij"))
        seeds, rates = seeds.astype(np.uint32), rates.astype(np.float32)
        todo = list(range(0, len(seeds), chunk))
        out = {}

        def work(device: int) -> None:
            while todo:
                at = todo.pop()
                own = jax.device_put((seeds[at : at + chunk], rates[at : at + chunk]), devices[device])
                out[at] = jax.device_get(program(*own, data[device]))

        threads = [threading.Thread(target=work, args=(d,)) for d in range(len(devices))]
        for t in threads:
            t.start()
        for t in threads:
            t.join()

    return timed(call, calls)


def by_vmap(calls: int) -> dict:
    import jax
    import numpy as np
    from workload import RATES, SEEDS, experiment, load

    data = jax.device_put(load())
    one = lambda s, r, data: experiment(jax.random.key(s), data, rate=r)
    program = jax.jit(jax.vmap(jax.vmap(one, (None, 0, None)), (0, None, None)))

    def call(i: int) -> None:
        seeds = (np.arange(SEEDS) + i * SEEDS).astype(np.uint32)
        jax.device_get(program(seeds, RATES.astype(np.float32), data))

    return timed(call, calls)


def timed(call, calls: int) -> dict:
    start = time.perf_counter()
    call(0)
    first = time.perf_counter() - start
    spent = []
    for i in range(1, calls + 1):
        start = time.perf_counter()
        call(i)
        spent.append(time.perf_counter() - start)
    return {"first": first, "warm": min(spent)}


def contender(name: str, calls: int) -> dict:
    """One contender's times, from a fresh process with an empty store and compile cache."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--contender", name, "--calls", str(calls)]
        done = subprocess.run(
            command, env=os.environ | {"ARMILLARY_HOME": folder}, capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 60 s")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    parser.add_argument("--calls", type=int, default=5, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.contender:
        name, _, chunk = args.contender.partition(":")
        runs = {"armillary": through_armillary, "vmap": by_vmap}
        print(json.dumps(by_hand(args.calls, int(chunk)) if name == "hand" else runs[name](args.calls)))
        return
    rounds, calls = (2, 3) if args.quick else (5, 5)
    chunks = (16, 32) if args.quick else (4, 8, 16, 32)
    names = ["armillary", "vmap", *(f"hand:{c}" for c in chunks)]
    times = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            times[name].append(contender(name, calls))
    warm = {name: statistics.median(t["warm"] for t in found) for name, found in times.items()}
    best = min((n for n in names if n.startswith("hand")), key=warm.__getitem__)
    print(
        json.dumps(
            {
                "benchmark": "overhead",
                "ratio": round(warm["armillary"] / warm[best], 3),
                "over_vmap": round(warm["vmap"] / warm["armillary"], 2),
                "microseconds_per_run_step": {n: round(w / 64_000 * 1e6, 2) for n, w in warm.items()},
                "first_call_seconds": {
                    n: round(statistics.median(t["first"] for t in f), 2) for n, f in times.items()
                },
                "best_hand_written": best,
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
