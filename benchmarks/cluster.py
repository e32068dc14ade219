"""Throughput on one and two Ray workers, each a node of its own on this machine, against this process's devices.

64 small networks (8 seeds × 8 learning rates, 1,000 SGD steps each) in chunks of 8, warm. Prints one line of JSON:
`ratio` is the runs a second of two workers over those of two devices (1 is as fast; 0.8 is good),
`one_worker` the same of one and one, and `overhead_milliseconds_per_chunk` what a chunk of next to no work costs more
on a worker than on a device. Needs the extra `armillary[ray]`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

import jax

from armillary.lab import Study
from armillary.lab.plan import Plan

CHUNKS = 100


def experiment(key, *, rate=0.5):
    """Next to no work: what is left is the price of a chunk."""
    return {"x": rate * jax.random.normal(key)}


study = Study(experiment)


def contender(places: int, address: str | None, rounds: int) -> dict:
    """Runs a second, and seconds a chunk of no work, in this process or on a cluster."""
    import workload

    import armillary

    if address:
        import ray

        ray.init(address=address, logging_level="ERROR", log_to_driver=False)
    devices = None if address else places

    def seconds(round_: int, small: bool) -> float:
        plan = Plan(devices, 1 if small else 8, ray=address)
        over = {"rate": [0.5] if small else workload.RATES}
        count = CHUNKS if small else workload.SEEDS
        start = time.perf_counter()
        armillary.sweep(
            study if small else workload.study, over, seeds=count, first_seed=round_ * count, plan=plan
        )
        return time.perf_counter() - start

    seconds(0, False), seconds(0, True)  # compiles, and has the workers started
    large, small = ([seconds(i, kind) for i in range(1, rounds + 1)] for kind in (False, True))
    runs = workload.SEEDS * len(workload.RATES)
    return {"throughput": runs / statistics.median(large), "chunk": statistics.median(small) / CHUNKS}


def apart(places: int, address: str | None, rounds: int) -> dict:
    """The same in a fresh process with a store of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [sys.executable, __file__, "--call", json.dumps([places, address, rounds])],
            env=os.environ | {"ARMILLARY_HOME": folder},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 60 s")
    parser.add_argument("--call", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.call:
        print(json.dumps(contender(*json.loads(args.call))))
        return
    from ray.cluster_utils import Cluster

    rounds = 2 if args.quick else 15
    here, there = {}, {}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for places in (1, 2):
            cluster.add_node(num_cpus=1)
            there[places] = apart(places, cluster.address, rounds)
            here[places] = apart(places, None, rounds)
    finally:
        cluster.shutdown()
    print(
        json.dumps(
            {
                "benchmark": "cluster",
                "ratio": round(there[2]["throughput"] / here[2]["throughput"], 2),
                "one_worker": round(there[1]["throughput"] / here[1]["throughput"], 2),
                "overhead_milliseconds_per_chunk": round(1e3 * (there[1]["chunk"] - here[1]["chunk"]), 2),
                "runs_per_second": {
                    **{f"{n} ray": round(found["throughput"], 1) for n, found in there.items()},
                    **{f"{n} in-process": round(found["throughput"], 1) for n, found in here.items()},
                },
                "milliseconds_per_empty_chunk": {
                    **{f"{n} ray": round(1e3 * found["chunk"], 2) for n, found in there.items()},
                    **{f"{n} in-process": round(1e3 * found["chunk"], 2) for n, found in here.items()},
                },
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
