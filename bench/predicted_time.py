"""Time that `show` predicts for a run with one worker, beside the time that the run takes.

``python bench/predicted_time.py [SCENARIO=REPLICATES ...]`` prints for each the seconds predicted, the seconds of CPU
of `simtrial run --engine serial`, and their ratio. CPU is compared: other programs on the machine do not matter.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RUNS = {
    "partners": 500,
    "verify/null-39": 2000,
    "verify/itt-sweep": 125,
    "published/siepe-2024": 2000,
    "published/wang-2024": 500,
}
"""Scenarios and replicates."""

PROGRAM = Path(__file__).parents[1] / "cli.py"


def predicted(scenario: str, replicates: str) -> float:
    """Seconds predicted in a process of its own, as `show` predicts them."""
    from simtrial.run.cost import cost
    from simtrial.run.sizes import sizes
    from simtrial.scenario import load

    begun = time.process_time()
    found, cells = load(scenario, [f"run.replicates={replicates}"])
    return cost(found, cells, 2 * time.process_time() - begun, sizes(cells)).with_workers(1)


def main(runs: dict[str, int]) -> None:
    """Print the table."""
    for scenario, replicates in runs.items():
        call = [sys.executable, __file__, "predict", scenario, str(replicates)]
        seconds = float(subprocess.run(call, capture_output=True, text=True, check=True).stdout)
        with tempfile.TemporaryDirectory() as folder:
            run = [sys.executable, str(PROGRAM), "run", scenario, "-o", f"{folder}/run", "--engine", "serial"]
            before = os.times()
            subprocess.run([*run, "--replicates", str(replicates)], capture_output=True, check=True)
            after = os.times()
        taken = after.children_user + after.children_system - before.children_user - before.children_system
        print(f"{scenario:24}{replicates:7}{seconds:9.1f}{taken:9.1f}{seconds / taken:7.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["predict"]:
        print(predicted(*sys.argv[2:]))
    else:
        main({text.split("=")[0]: int(text.split("=")[1]) for text in sys.argv[1:]} or RUNS)
