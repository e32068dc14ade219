"""`armillary list` against `python -c pass`, both as whole processes, in turn.

Prints one line of JSON: `ratio` is the median of the pairs' ratios (at most 15 is good).
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions, under 60 s")
    rounds = 10 if parser.parse_args().quick else 40
    armillary = [str(Path(sys.executable).parent / "armillary"), "list"]
    python = [sys.executable, "-c", "pass"]
    for command in (armillary, python):
        seconds(command)
    pairs = [(seconds(armillary), seconds(python)) for _ in range(rounds)]
    print(
        json.dumps(
            {
                "benchmark": "startup",
                "ratio": round(statistics.median(a / b for a, b in pairs), 2),
                "armillary_list_milliseconds": round(1e3 * statistics.median(a for a, _ in pairs), 1),
                "python_milliseconds": round(1e3 * statistics.median(b for _, b in pairs), 1),
            }
        )
    )


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
