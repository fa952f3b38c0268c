"""Paired times of two checkouts, part by part: ``python bench/paired.py OLD NEW [SCENARIO]``.

Each checkout has a process of its own; they take turns at the same block of trials, so whatever else the machine does
meets both alike. Shown is the smallest CPU time of every part per trial, and the ratio. A part that one of them lacks
is left out. SCENARIO (a name or a file, ``partners`` unless given) is read by both; a file makes them do the same work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from time import process_time
from typing import Any

ROUNDS = int(os.environ.get("ROUNDS", "15"))
SECONDS = 1e6


def timed(parts: dict[str, float], name: str, work: Callable[[], Any]) -> Any:
    """Do a part of the work and note how long it took."""
    begun = process_time()
    made = work()
    parts[name] = process_time() - begun
    return made


def times(scenario: str) -> dict[str, float]:
    """Microseconds per trial of a whole block, and of its parts."""
    from simtrial.generate import simulate
    from simtrial.moments.shared import SharedMoments
    from simtrial.run.block import block_rows
    from simtrial.scenario import load
    from simtrial.seeding import stream

    try:
        from simtrial.store.estimate_rows import rows
    except ImportError:  # an older checkout
        from simtrial.store.chunks import rows  # type: ignore[attr-defined,no-redef]

    cell = load(scenario)[1][0]
    size, seed = cell.scenario.run.block, cell.scenario.run.seed
    parts: dict[str, float] = {}
    timed(parts, "whole block", lambda: block_rows(cell, 0))
    drawn = timed(parts, "drawn", lambda: simulate(cell.scenario.needed, size, seed, cell.key, 0))
    observed = timed(parts, "observed", drawn.observed)
    shared = SharedMoments(observed)
    for method in cell.scenario.methods:
        name, rng = method.name, stream(seed, cell.key, 0, f"method:{method.name}") if method.draws else None
        moments = timed(parts, f"moments: {name}", lambda m=method: shared.moments(m.spec()))
        found = timed(parts, f"fit: {name}", lambda m=method, x=moments, r=rng: m.fit(observed, x, r))
        timed(parts, f"rows: {name}", lambda e=found: rows(e, {"replicate": range(size)}))
    for kind in ("moments", "fit", "rows"):
        parts[f"{kind}, all methods"] = sum(t for name, t in parts.items() if name.startswith(f"{kind}: "))
    return {name: t / size * SECONDS for name, t in parts.items()}


def serve(scenario: str) -> None:
    """Time the parts once for every line read, with memory kept as in a run."""
    with suppress(ImportError):  # an older checkout
        from simtrial.run.kept_memory import keep_freed_memory

        keep_freed_memory()
    for _ in sys.stdin:
        print(json.dumps(times(scenario)), flush=True)


def smallest(folder: str, scenario: str) -> Iterator[dict[str, float]]:
    """Smallest times of a checkout so far, after one more round each time they are asked for."""
    script = [sys.executable, "-P", str(Path(__file__).resolve()), "--serve", scenario]
    env = {**os.environ, "PYTHONPATH": str(Path(folder).resolve()), "OMP_NUM_THREADS": "1"}
    least: dict[str, float] = {}
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        while True:
            process.stdin.write("\n")
            process.stdin.flush()
            found = json.loads(process.stdout.readline())
            least = {name: min(t, least.get(name, t)) for name, t in found.items()}
            yield least


def main(old: str, new: str, scenario: str = "partners") -> None:
    """Print the table."""
    sides = smallest(old, scenario), smallest(new, scenario)
    for _ in range(ROUNDS):
        before, after = (next(side) for side in sides)
    print(f"{'part':60}{'old':>9}{'new':>9}{'ratio':>8}   (us per trial)")
    for name in (n for n in before if n in after):
        print(f"{name:60}{before[name]:9.1f}{after[name]:9.1f}{after[name] / before[name]:8.3f}")
    for side in sides:
        side.close()


if __name__ == "__main__":
    serve(sys.argv[2]) if sys.argv[1] == "--serve" else main(*sys.argv[1:])
