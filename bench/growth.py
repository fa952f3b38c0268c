"""How cost grows with practices and people: CPU per trial and per participant, both cores, and peak memory.

``OMP_NUM_THREADS=1 python bench/growth.py [TURNS]`` draws PARTNERS-like trials of 10 to 3,900 practices of 5 to 500
people, and analyses them by the mixed model (REML, Satterthwaite), least squares with CR2 and 2SLS with CR2, each with
sums by practice of its own. Both cores take turns in one process. A second process then does the same at the same time
as the first, as two workers would; "two" is CPU per trial with it over CPU without. "MB" is the peak of a block above
what the process had before, of whichever core takes more, and "kB each" that per participant of the block.

Cost that grows with participants is the same per participant in every row, and falls where a block's fixed cost is
shared by more of them. A star marks more than `FASTER` times the cost per participant of a cell before it (fewer
practices or fewer people).

Blocks are of about `PEOPLE` participants, at most 250 trials. Trials of more than `MOST` participants, which scenarios
do not allow, are left out and named.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

PRACTICES = (10, 39, 120, 390, 1200, 3900)
EACH = (5, 20, 100, 500)
PEOPLE = MOST = 100_000
FASTER = 1.3
PARTS = ("draw", "lmm", "ols", "iv")
"""Drawing, and kinds of method."""

SMALL = ("number=10", "cluster_size_mean=5")
TEXT = """\
extends = "partners"
schema = 1
name = "growth"
title = "Trials of one size"
[mechanism.practices]
number = {practices}
cluster_size_mean = {each}
[[methods]]
name = "lmm"
kind = "lmm"
df = "satterthwaite"
estimand = []
[[methods]]
name = "ols"
kind = "ols"
estimand = []
[[methods]]
name = "iv"
kind = "iv"
received = "sessions >= 6"
estimand = []
"""

Cell = tuple[int, int]
Found = dict[str, Any]


def block_of(cell: Cell) -> int:
    """Trials of a block."""
    return max(1, min(250, PEOPLE // (cell[0] * cell[1])))


def serve(file: str, block: int) -> None:
    """Time the parts once for every line read, in microseconds per trial; memory and participants beside them."""
    from simtrial import core
    from simtrial.generate import simulate
    from simtrial.moments.build import moments
    from simtrial.run.kept_memory import keep_freed_memory
    from simtrial.scenario import load

    scenario, small = load(file)[0], load(file, [f"mechanism.practices.{key}" for key in SMALL])[0]
    keep_freed_memory()

    def analysed(method: Any, observed: Any) -> Any:
        return method.fit(observed, moments(observed, method.spec()), np.random.default_rng(1))

    def work(trials: int, scenario: Any = scenario) -> Iterator[tuple[str, Callable[[], Any]]]:
        observed = simulate(scenario.needed, trials, 1, "", 0).observed()
        yield "draw", lambda: simulate(scenario.needed, trials, 1, "", 0).observed()
        for method in scenario.methods:
            yield method.kind, partial(analysed, method, observed)

    for one in core.CORES:
        with core.using(one):
            for _, part in work(1, small):
                part()  # what is loaded once and kept
    before = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    people = simulate(scenario.needed, block, 1, "", 0).index.participants
    for _ in sys.stdin:
        found: Found = {"people": people / block}
        for one in core.CORES:
            with core.using(one):
                for name, part in work(block):
                    begun = time.process_time()
                    part()
                    found[f"{one} {name}"] = (time.process_time() - begun) / block * 1e6
        found["MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6
        print(json.dumps(found), flush=True)


@contextmanager
def worker(file: Path, block: int) -> Iterator[subprocess.Popen[str]]:
    """A process that measures when it is told to."""
    script = [sys.executable, __file__, "serve", str(file), str(block)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def told(*workers: subprocess.Popen[str]) -> list[Found]:
    """Let workers measure at the same time."""
    for one in workers:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    return [json.loads(one.stdout.readline()) for one in workers if one.stdout is not None]


def measured(cell: Cell, turns: int) -> Found:
    """Medians of a cell: alone, and beside another process."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "growth.toml"
        file.write_text(TEXT.format(practices=cell[0], each=cell[1]), "utf-8")
        first, second = (stack.enter_context(worker(file, block_of(cell))) for _ in range(2))
        told(first, second)  # memory is at hand
        alone, ratios = [], []
        for _ in range(turns):
            alone += told(first)
            both = told(first, second)
            ratios.append(np.mean([_whole(found) for found in both]) / _whole(alone[-1]))
    return {**{name: float(np.median([found[name] for found in alone])) for name in alone[0]}, "two": np.median(ratios)}


def _whole(found: Found) -> float:
    return float(sum(value for name, value in found.items() if " " in name))


def line(cell: Cell, one: str, found: Found, known: dict[Cell, Found]) -> str:
    """A row of the table: a cell by one core."""
    before = [known[other] for other in _before(cell) if other in known]
    text = f"{cell[0]:6}{cell[1]:5}{block_of(cell):5} {one:9}"
    for name in (f"{one} {part}" for part in PARTS):
        each = found[name] / found["people"]
        star = "*" if any(each > FASTER * other[name] / other["people"] for other in before) else " "
        text += f"{found[name]:11.1f}{1000 * each:7.0f}{star}"
    return text + f"{found['MB']:8.0f}{found['MB'] * 1000 / found['people'] / block_of(cell):7.2f}{found['two']:6.2f}"


def _before(cell: Cell) -> list[Cell]:
    """The cell with the next fewer practices, and that with the next fewer people."""
    i, j = PRACTICES.index(cell[0]), EACH.index(cell[1])
    return [(PRACTICES[i - 1], cell[1])] * (i > 0) + [(cell[0], EACH[j - 1])] * (j > 0)


def main(turns: int) -> None:
    """Print the table."""
    print(f"{turns} turns; us of CPU per trial, and ns per participant\n  practices, people, block", end="")
    print("".join(f"{part:>{17 if part == 'draw' else 19}}" for part in PARTS) + "        MB  kB each   two")
    known: dict[Cell, Found] = {}
    for cell in ((practices, each) for practices in PRACTICES for each in EACH):
        if cell[0] * cell[1] > MOST:
            print(f"{cell[0]:6}{cell[1]:5}      left out: {cell[0] * cell[1]:,} participants in a trial")
            continue
        known[cell] = measured(cell, turns)
        for one in ("numpy", "compiled"):
            print(line(cell, one, known[cell], known), flush=True)


if __name__ == "__main__":
    from simtrial import core as cores

    if cores.missing():
        sys.exit(f"no compiled kernels: {cores.missing()}")
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2], int(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
