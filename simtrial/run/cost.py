"""Time that a run will take, from a few blocks of some of its cells."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TypeVar

import numpy as np
import polars as pl

from simtrial.arrays import Floats
from simtrial.estimands import true_values
from simtrial.estimators.contained import is_own
from simtrial.performance.summary import options_of, summary
from simtrial.run.block import block_rows
from simtrial.run.sampled_cells import MANY
from simtrial.run.sizes import Size, with_block
from simtrial.scenario import Cell, Scenario
from simtrial.store.chunks import write_chunk
from simtrial.store.directory import provenance
from simtrial.store.paths import Place

T = TypeVar("T")

STORED = 1000
"""Replicates that a stored file holds unless the run is told otherwise."""

FEW, GROWTH = 5, 4
"""Trials of the first block that is timed, and how much larger the next ones are."""

SECONDS = 0.25
"""Seconds of a block from which on no larger one is tried."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one worker for all cells, and of what no other can share, start and summary; from so many cells."""

    work: float
    alone: float
    cells: int

    def with_workers(self, workers: int) -> float:
        """Seconds that the run takes."""
        return self.alone + self.work / workers


def cost(scenario: Scenario, cells: Sequence[Cell], start: float, sizes: Sequence[Size]) -> Cost:
    """Predict the time of a run; ``start`` are the seconds that reading the scenario takes, ``sizes`` those of trials.

    A cell costs what its true values, its blocks and their storage do, and its summary at the end. Blocks are timed in
    the cells with the smallest, the middle (of up to `MANY` cells) and the largest trials, first small blocks and then
    a whole one or a part of it: that tells what is spent once a block and what for every trial. The other cells are
    taken between these by the size of their trials.
    """
    people = np.array([size.people for size in sizes])
    order = np.argsort(people, kind="stable")
    middle = order[len(order) // 2 : len(order) // 2 + (len(cells) <= MANY)]  # a large sweep takes long enough to read
    extremes = [cells[at] for at in (order[0], *middle, order[-1])]
    chosen = {cell.id for cell in extremes}
    places = [at for at, cell in enumerate(cells) if cell.id in chosen]
    block_rows(with_block(extremes[0], min(FEW, scenario.run.block)), 0)  # makes what is made once
    tried = [_of_cell(scenario, cells[at]) for at in places]
    work, summaries = (_over_all(people, places, [pair[k] for pair in tried]) for k in (0, 1))
    return Cost(work=work, alone=start + summaries, cells=len(places))


def _over_all(people: Floats, places: Sequence[int], seconds: Sequence[float]) -> float:
    """Sum over cells, those not tried taken between those that were."""
    known, which = np.unique(people[list(places)], return_inverse=True)
    means = np.bincount(which, weights=seconds) / np.bincount(which)
    return float(np.interp(people, known, means).sum())


def _of_cell(scenario: Scenario, cell: Cell) -> tuple[float, float]:
    """Seconds of a cell: its work, and the summary of its rows."""
    own, replicates = cell.scenario, scenario.run.replicates
    truths, found = _timed(lambda: true_values(own.estimands, own.mechanism, own.run.seed, cell.key))
    blocks, rows = _of_blocks(cell)
    stored = min(replicates, STORED)
    chunk = _as_many(rows, stored)
    with tempfile.TemporaryDirectory() as folder:
        writing, _ = _timed(lambda: _write(Path(folder), cell, chunk), own=True)
    known = pl.DataFrame({"cell": cell.id, "estimand": [t.estimand for t in found],
                          "true_value": [t.value for t in found], "true_value_mcse": [t.mcse for t in found]},
                         schema_overrides={"true_value": pl.Float64, "true_value_mcse": pl.Float64})  # fmt: skip
    options = options_of({"scenario": scenario.raw})
    summarising, _ = _timed(lambda: summary(chunk, known, options))
    return truths + blocks + ceil(replicates / STORED) * writing, summarising * replicates / stored


def _of_blocks(cell: Cell) -> tuple[float, pl.DataFrame]:
    """Seconds of all blocks of a cell, and rows of one of them; blocks grow until one takes `SECONDS`."""
    block = cell.scenario.run.block
    own = "generator" in cell.scenario.mechanism or any(is_own(method) for method in cell.scenario.methods)

    def took(trials: int, place: int) -> tuple[float, pl.DataFrame]:
        return _timed(lambda: block_rows(with_block(cell, trials), place), own)

    size, place = min(FEW, block), 0
    taken, rows = took(size, place)
    smaller, less = 0, 0.0
    while size < block and (taken < SECONDS or not smaller):
        smaller, less = size, taken
        size, place = min(GROWTH * size, block), place + 1
        taken, rows = took(size, place)
    if size < block:
        taken += max(taken - less, 0.0) / (size - smaller) * (block - size)
    return taken * ceil(cell.scenario.run.replicates / block), rows


def _as_many(rows: pl.DataFrame, replicates: int) -> pl.DataFrame:
    """Rows again and again, as many as so many replicates have, each with a number of its own."""
    trials = rows["replicate"].n_unique()
    first = rows.with_columns(pl.col("replicate") - pl.col("replicate").min() + 1)
    times = range(ceil(replicates / trials))
    return pl.concat([first.with_columns(pl.col("replicate") + k * trials) for k in times])


def _write(folder: Path, cell: Cell, rows: pl.DataFrame) -> None:
    place, origin = Place(cell.id, 0, 0), provenance(cell.scenario, "")
    write_chunk(folder, place, rows, failures=[], trials="", parts={}, provenance=origin, about={})


def _timed(work: Callable[[], T], own: bool = False) -> tuple[float, T]:
    """Seconds of some work.

    Those in which other programs had the core do not count, where the system tells them: of the program's own work
    what it computes, of the ``own`` methods of the user, who may call other programs, all that it does not stand in
    line for a core.
    """
    wall, computed = _clock(), time.process_time()
    found = work()
    wall, computed = _clock() - wall, time.process_time() - computed
    return (wall if own else min(wall, computed)), found


def _clock() -> float:
    """Seconds without those of waiting for a core."""
    try:
        waited = int(Path("/proc/self/schedstat").read_text(encoding="ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        waited = 0.0
    return time.perf_counter() - waited
