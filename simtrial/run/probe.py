"""A few trials before a run: what it will cost, which methods fail, and power beside a formula."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import polars as pl

from simtrial.estimators import FATAL
from simtrial.flags import BIT, CAUSES
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, Scenario, rebuild

PROBE = 25
"""Trials simulated and analysed to predict the cost."""

SIMULATED = 1000
"""Trials simulated to show the power beside that of a formula."""

Progress = Callable[[int, int, float], None]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """Rows of the first `PROBE` trials of a scenario, and the seconds that one of them took."""

    rows: pl.DataFrame
    seconds: float


def probe(scenario: Scenario) -> Probe:
    """Simulate and analyse a few trials of the first cell."""
    raw = {**scenario.raw, "run": {**scenario.run.model_dump(), "block": PROBE}}
    small = rebuild(raw)[1][0]
    begun = time.perf_counter()
    rows = block_rows(small, 0)
    return Probe(rows=rows, seconds=(time.perf_counter() - begun) / PROBE)


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
            raw = {**cell.scenario.raw, "run": {**cell.scenario.run.model_dump(), "block": SIMULATED}}
            alone = {key: table for key, table in raw.items() if key not in ("vary", "expect")}
            rows[cell.id] = block_rows(rebuild(alone)[1][0], 0)
        progress(done, len(cells), time.monotonic() - begun)
    return rows
