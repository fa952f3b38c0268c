"""Peak memory of a block, predicted and measured, for kinds of methods and sizes of trials.

``python bench/memory.py [KIND ...]`` prints a line for each kind and size: practices, block, MB predicted, MB measured
(peak resident memory of a process that runs the block, above what it had before), and their ratio. Every measurement is
a process of its own.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

METHODS = {
    "lmm": "",
    "ols": "",
    "iv": 'received = "sessions >= 6"',
    "mi": 'm = 5\nanalysis = { kind = "lmm" }',
    "gee": "",
    "randomisation-test": "draws = 199",
    "wild-bootstrap": "draws = 199",
    "g-computation": 'model = "lmm"',
    "cluster-means": "adjust = []",
}
"""Options of each kind."""

SIZES = ((39, 25), (39, 250), (300, 100), (2000, 25), (2000, 100))
"""Practices and block."""

LARGE = ((10_000, 25),)
"""Sizes for the quick kinds alone."""

QUICK = ("lmm", "ols", "iv", "gee", "cluster-means")

TEXT = """\
extends = "partners"
schema = 1
name = "memory"
title = "One method"
[mechanism.practices]
number = {practices}
[[methods]]
name = "it"
kind = "{kind}"
estimand = []
{options}
[run]
block = {block}
replicates = {block}
"""


def measured(file: str) -> None:
    """Print the bytes predicted and those measured of a scenario's block."""
    from simtrial.run.block import block_rows
    from simtrial.run.memory import predicted
    from simtrial.run.sizes import sizes, with_block
    from simtrial.scenario import load

    cell = load(file)[1][0]
    if sys.argv[1] == "predict":
        found = predicted(cell, sizes([cell])[0])
        print(round(found.fixed + found.per_trial * cell.scenario.run.block))
        return
    block_rows(with_block(cell, 1), 0)  # what is loaded once and kept
    before = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    block_rows(cell, 0)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before)


def main(kinds: list[str]) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "memory.toml"
        for kind in kinds or METHODS:
            for practices, block in SIZES + (LARGE if kind in QUICK else ()):
                options = METHODS[kind]
                file.write_text(TEXT.format(practices=practices, kind=kind, options=options, block=block), "utf-8")
                calls = ([sys.executable, __file__, what, str(file)] for what in ("predict", "measure"))
                found = [int(subprocess.run(c, capture_output=True, text=True, check=True).stdout) for c in calls]
                mb = [number / 1e6 for number in found]
                print(f"{kind:20}{practices:7}{block:5}{mb[0]:9.1f}{mb[1]:9.1f}{mb[0] / mb[1]:7.2f}", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] and sys.argv[1] in ("predict", "measure"):
        measured(sys.argv[2])
    else:
        main(sys.argv[1:])
