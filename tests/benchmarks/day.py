"""Run `day.yaml` in a process of its own and print what it took: `python -m tests.benchmarks.day`.

The arguments are values to set, as `workload.duration='72 min'`.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

import planner

SCENARIO = Path(__file__).with_name("day.yaml")


def main(sets: list[str]) -> None:
    """Run the scenario once for a minute, to compile, and once as asked."""
    planner.run(SCENARIO, sets=["workload.duration=1 min"])
    wall_s, cpu_s = perf_counter(), process_time()
    result = planner.run(SCENARIO, sets=sets, invariants=True)
    fates = result.to_pandas("fates")
    print(
        json.dumps(
            {
                "requests": int(fates["arrived"].sum()),
                "served": int(fates["served"].sum()),
                "wall_s": perf_counter() - wall_s,
                "cpu_s": process_time() - cpu_s,
                # kilobytes on Linux, bytes on macOS
                "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                * (1 if sys.platform == "darwin" else 1024),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
