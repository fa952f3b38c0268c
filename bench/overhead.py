"""What a sweep costs beside drawing and analysing: planning, storing and summarising, as a share of the computing.

``python bench/overhead.py [CELLS] [REPLICATES]`` runs a sweep of `partners` in one process and takes its CPU apart: the
blocks and true values are computing, all the rest is not, turning estimates into rows included. Planning goes by cells,
the others by cells and replicates, so a small sweep stands for a large one.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

TEXT = """\
extends = "partners"
schema = 1
name = "overhead"
title = "A sweep"
[vary.cross]
"mechanism.practices.number" = [20, 39, 60]
"mechanism.outcomes.mansa.icc" = {levels}
"""

spent = {"load": 0.0, "warnings and memory": 0.0, "run": 0.0, "blocks": 0.0, "rows": 0.0, "frames": 0.0, "truths": 0.0,
         "summary": 0.0}  # fmt: skip


def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, its CPU added to what was spent on its kind of work."""

    def call(*arguments: Any, **options: Any) -> Any:
        begun = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[name] += time.process_time() - begun

    return call


def main(cells: int, replicates: int) -> None:
    """Print the parts."""
    from simtrial.cli import main as simtrial
    from simtrial.commands import run as command
    from simtrial.commands import run_directories
    from simtrial.run import block, implied_cuts, loop, memory, tasks

    imported = time.process_time()
    levels = [round(0.3 * k / max(cells // 3, 1), 5) for k in range(max(cells // 3, 1))]
    timed = (
        (command, "load_cells", "load"), (implied_cuts, "warnings", "warnings and memory"),
        (memory, "refuse_too_large", "warnings and memory"), (loop, "run", "run"), (tasks, "block_pieces", "blocks"),
        (block, "columns_of", "rows"), (block, "_failed_rows", "rows"), (tasks, "table", "frames"),
        (tasks, "true_values", "truths"), (run_directories, "summarise", "summary"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sweep.toml"
        file.write_text(TEXT.format(levels=levels), "utf-8")
        words = ["simtrial", "run", str(file), "-o", f"{folder}/run", "--engine", "serial"]
        for module, name, work in timed:
            mock.patch.object(module, name, counted(work, getattr(module, name))).start()
        with mock.patch.object(sys, "argv", [*words, "--replicates", str(replicates)]):
            try:
                with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
                    simtrial()
            except SystemExit as end:
                if end.code:
                    raise
    whole = time.process_time() - imported
    computing = spent["blocks"] - spent["rows"] + spent["truths"]
    parts = {
        "load": spent["load"], "warnings and memory": spent["warnings and memory"],
        "rows": spent["rows"] + spent["frames"],
        "storing, and all else of the run": spent["run"] - spent["blocks"] - spent["frames"] - spent["truths"],
        "summary": spent["summary"],
    }  # fmt: skip
    parts["other"] = whole - computing - sum(parts.values())
    print(f"{len(levels) * 3} cells, {replicates} replicates: {computing:.1f} s of computing")
    for name, seconds in {**parts, "together": sum(parts.values())}.items():
        print(f"{name:36}{seconds:8.2f} s{100 * seconds / computing:7.1f}%")


if __name__ == "__main__":
    main(*(int(text) for text in sys.argv[1:] or ("30", "250")))
