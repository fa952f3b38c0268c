"""Time that a run will take, from a few blocks of some of its cells."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

import numpy as np
import polars as pl

from simtrial.arrays import Floats
from simtrial.estimands import TrueValue, true_values
from simtrial.estimators.contained import is_own
from simtrial.performance.summary import options_of, summary
from simtrial.run.block import block_rows
from simtrial.run.sampled_cells import MANY
from simtrial.run.sizes import Size, with_block
from simtrial.run.timed import timed
from simtrial.scenario import Cell, Scenario
from simtrial.store.chunks import write_chunk
from simtrial.store.directory import provenance
from simtrial.store.paths import Place

STORED = 1000
"""Replicates that a stored file holds unless the run is told otherwise."""

FEW, GROWTH = 5, 4
"""Trials of the first block that is timed, and how much larger the next ones are."""

SECONDS = 0.25
"""Seconds of a block from which on no larger one is tried."""

SHARE = 0.2
"""Share of the time of the run that its blocks are timed for: more would cost more than it tells."""

Truths = Mapping[str, tuple[float, Sequence[TrueValue]]]
"""Seconds that the true values of cells have taken, and what they are, by the cell's id."""


@dataclass(frozen=True)
class Cost:
    """Seconds of one worker for all cells, and of what no other can share, start and summary; from so many cells."""

    work: float
    alone: float
    cells: int

    def with_workers(self, workers: int) -> float:
        """Seconds that the run takes."""
        return self.alone + self.work / workers


def cost(
    scenario: Scenario, cells: Sequence[Cell], start: float, sizes: Sequence[Size], truths: Truths | None = None
) -> Cost:
    """Predict the time of a run; ``start`` are the seconds that reading the scenario takes, ``sizes`` those of trials.

    A cell costs what its true values, its blocks and their storage do, and its summary at the end. Blocks are timed in
    the cells with the smallest, the middle (of up to `MANY` cells) and the largest trials, first small blocks and then
    a whole one or a part of it: that tells what is spent once a block and what for every trial. The other cells are
    taken between these by the size of their trials. ``truths`` need not be found again. After the first two sizes no
    block is timed that would bring the whole above `SHARE` of the run.
    """
    people = np.array([size.people for size in sizes])
    order = np.argsort(people, kind="stable")
    middle = order[len(order) // 2 : len(order) // 2 + (len(cells) <= MANY)]  # a large sweep takes long enough to read
    extremes = [cells[at] for at in (order[0], *middle, order[-1])]
    chosen = {cell.id for cell in extremes}
    places = [at for at, cell in enumerate(cells) if cell.id in chosen]
    block_rows(with_block(extremes[0], min(FEW, scenario.run.block)), 0)  # makes what is made once
    share = SHARE * len(cells) / len(places)
    tried = [_of_cell(scenario, cells[at], truths or {}, share) for at in places]
    work, summaries = (_over_all(people, places, [pair[k] for pair in tried]) for k in (0, 1))
    return Cost(work=work, alone=start + summaries, cells=len(places))


def _over_all(people: Floats, places: Sequence[int], seconds: Sequence[float]) -> float:
    """Sum over cells, those not tried taken between those that were."""
    known, which = np.unique(people[list(places)], return_inverse=True)
    means = np.bincount(which, weights=seconds) / np.bincount(which)
    return float(np.interp(people, known, means).sum())


def _of_cell(scenario: Scenario, cell: Cell, known_truths: Truths, share: float) -> tuple[float, float]:
    """Seconds of a cell: its work, and the summary of its rows."""
    own, replicates = cell.scenario, scenario.run.replicates
    truths, found = known_truths.get(cell.id) or timed(
        lambda: true_values(own.estimands, own.mechanism, own.run.seed, cell.key)
    )
    blocks, rows = _of_blocks(cell, share)
    stored = min(replicates, STORED)
    chunk = _as_many(rows, stored)
    with tempfile.TemporaryDirectory() as folder:
        writing, _ = timed(lambda: _write(Path(folder), cell, chunk), own=True)
    known = pl.DataFrame({"cell": cell.id, "estimand": [t.estimand for t in found],
                          "true_value": [t.value for t in found], "true_value_mcse": [t.mcse for t in found]},
                         schema_overrides={"true_value": pl.Float64, "true_value_mcse": pl.Float64})  # fmt: skip
    options = options_of({"scenario": scenario.raw})
    summarising, _ = timed(lambda: summary(chunk, known, options))
    return truths + blocks + ceil(replicates / STORED) * writing, summarising * replicates / stored


def _of_blocks(cell: Cell, share: float) -> tuple[float, pl.DataFrame]:
    """Seconds of all blocks of a cell, and rows of one of them.

    Blocks grow until one takes `SECONDS`, or the next would bring them above this ``share`` of the cell's time.
    """
    block = cell.scenario.run.block
    own = "generator" in cell.scenario.mechanism or any(is_own(method) for method in cell.scenario.methods)

    def took(trials: int, place: int) -> tuple[float, pl.DataFrame]:
        return timed(lambda: block_rows(with_block(cell, trials), place), own)

    size, place = min(FEW, block), 0
    taken, rows = took(size, place)
    smaller, less, spent = 0, 0.0, taken
    trials = block * ceil(cell.scenario.run.replicates / block)
    while size < block and (
        not smaller or (taken < SECONDS and spent + GROWTH * taken <= share * taken / size * trials)
    ):
        smaller, less = size, taken
        size, place = min(GROWTH * size, block), place + 1
        taken, rows = took(size, place)
        spent += taken
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
