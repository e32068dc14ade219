"""The store against polars alone on the same rows: 100,000 runs appended chunk by chunk, then queried.

One chunk in twenty is computed a second time, and of a run the newest row counts. Polars alone writes the same
columns to a file a chunk (`pl.DataFrame(...).write_parquet`), and asks the store's own files for the same answer
(`pl.scan_parquet(files).unique("run", keep="last").filter(...)`); it checks no checksums and merges nothing. Prints
one line of JSON: `ratio` is the larger of `append` and `query`, the store's time over that of polars, in turn (at
most 1.3 is good). `query_over_filter` is against a filter that may answer with rows that have a newer one.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from armillary.lab.fingerprint import versions
from armillary.lab.store import Store, rows

CHUNK = 64
WHERE = "m1 > 0.5 AND width = 3 AND study LIKE 'study-1%'"


def chunk(index: int, again: int = 0) -> dict:
    """What a finished chunk of 64 runs gives: eight scalars, a curve, three settings."""
    rng = np.random.default_rng([index, again])
    return {
        "study": f"study-{index % 50}",
        "code": "c" * 20,
        "runs": [f"{index * CHUNK + i:020x}" for i in range(CHUNK)],
        "seeds": list(range(CHUNK)),
        "settings": [{"rate": i / CHUNK, "width": index % 7, "word": "some"} for i in range(CHUNK)],
        "outputs": {f"m{i}": rng.random(CHUNK, np.float32) for i in range(8)}
        | {"curve": rng.random((CHUNK, 20), np.float32)},
        "seconds": 1.0,
        "plan": "2 cpu chunk 16",
    }


def raw(folder: Path, index: int, found: dict) -> None:
    """The same rows by polars alone."""
    settings, outputs = found["settings"], found["outputs"]
    finite = np.isfinite([v for v in outputs.values() if v.ndim == 1]).all(0)
    columns = {
        "study": [found["study"]] * CHUNK,
        "run": found["runs"],
        "code": [found["code"]] * CHUNK,
        "seed": found["seeds"],
        "status": np.where(finite, "ok", "diverged"),
        "seconds": [found["seconds"] / CHUNK] * CHUNK,
        "date": [time.strftime("%Y-%m-%dT%H:%M:%S")] * CHUNK,
        "plan": [found["plan"]] * CHUNK,
        "versions": [json.dumps(versions())] * CHUNK,
        "shapes": [json.dumps({n: [str(v.dtype), *v.shape[1:]] for n, v in outputs.items()})] * CHUNK,
    }
    columns |= {name: [s[name] for s in settings] for name in settings[0]}
    columns |= {n: v if v.ndim == 1 else pl.Series(n, v).arr.to_list() for n, v in outputs.items()}
    pl.DataFrame(columns).write_parquet(folder / f"{index}.parquet", compression="lz4", statistics=False)


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 60 s")
    args = parser.parse_args()
    chunks, rounds = 1600, 5 if args.quick else 25
    with tempfile.TemporaryDirectory() as folder:
        store, plain = Store(Path(folder) / "store"), Path(folder) / "plain"
        plain.mkdir()
        ours, theirs = [], []
        for index in range(chunks):
            for again in range(2 if index % 20 == 0 else 1):
                found = chunk(index, again)
                start = time.perf_counter()
                store.append(found["study"], found["code"], rows(**found))
                between = time.perf_counter()
                raw(plain, len(ours), found)
                ours.append(between - start)
                theirs.append(time.perf_counter() - between)
        for study in range(50):
            store.settle(f"study-{study}", "c" * 20)
        files, asked, answers = store.files(), pl.sql_expr(WHERE), {}

        def by_store() -> None:
            answers["store"] = Store(store.root).query(WHERE)[0]

        def by_polars() -> None:
            newest = pl.scan_parquet(files).unique("run", keep="last", maintain_order=True)
            answers["polars"] = newest.filter(asked).collect()

        def by_filter() -> None:
            pl.scan_parquet(files).filter(asked).collect()

        contenders = by_store, by_polars, by_filter
        times = [[seconds(call) for call in contenders] for _ in range(rounds + 1)][1:]
        one, their = (answers[name].sort("run") for name in ("store", "polars"))
        assert one.equals(their.select(one.columns))
    append = sum(ours) / sum(theirs)
    query, over_filter = (statistics.median(t[0] / t[i] for t in times) for i in (1, 2))
    own, other, plainly = (1e3 * statistics.median(t[i] for t in times) for i in range(3))
    print(
        json.dumps(
            {
                "benchmark": "store",
                "ratio": round(max(append, query), 2),
                "append": round(append, 2),
                "query": round(query, 2),
                "query_over_filter": round(over_filter, 2),
                "append_milliseconds": round(1e3 * sum(ours) / len(ours), 3),
                "polars_append_milliseconds": round(1e3 * sum(theirs) / len(ours), 3),
                "query_milliseconds": round(own, 1),
                "polars_query_milliseconds": round(other, 1),
                "polars_filter_milliseconds": round(plainly, 1),
                "runs": chunks * CHUNK,
                "files": len(files),
                "matching": len(one),
                "cores": len(os.sched_getaffinity(0)),
            }
        )
    )


if __name__ == "__main__":
    main()
