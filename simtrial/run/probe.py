"""A few trials before a run: which methods fail, and power beside a formula."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import polars as pl

from simtrial.estimators import FATAL
from simtrial.flags import BIT, CAUSES
from simtrial.run.block import block_rows
from simtrial.run.sizes import with_block
from simtrial.scenario import Cell

PROBE = 25
"""Trials simulated and analysed to see which methods fail."""

SIMULATED = 1000
"""Trials simulated to show the power beside that of a formula."""

Progress = Callable[[int, int, float], None]


def probe(cells: Sequence[Cell]) -> pl.DataFrame:
    """Rows of a few trials of the first cell."""
    return block_rows(with_block(cells[0], PROBE), 0)


def failing(rows: pl.DataFrame) -> list[str]:
    """Say which methods fail in trials of the probe, in how many, and the most frequent cause."""
    failed = rows.filter(pl.col("status") == "failed").unique(["replicate", "method"], maintain_order=True)
    lines = []
    for (method,), group in failed.group_by("method", maintain_order=True):
        causes = Counter(name for flags in group["flags"] for name in flags.split(";") if BIT.get(name, 0) & FATAL)
        cause = causes.most_common(1)[0][0]
        lines.append(f"'{method}' fails in {group.height} of {PROBE} probe trials: {cause}: {CAUSES[cause]}")
    return lines


def power_rows(cells: Sequence[Cell], progress: Progress) -> dict[str, pl.DataFrame]:
    """Rows of `SIMULATED` trials of every cell with a [design], by the cell's id."""
    begun = time.monotonic()
    rows = {}
    for done, cell in enumerate(cells, 1):
        if cell.scenario.design is not None:
            rows[cell.id] = block_rows(replace(with_block(cell, SIMULATED), id="base", key=""), 0)
        progress(done, len(cells), time.monotonic() - begun)
    return rows
