"""Replicates until results are precise enough: when a cell is looked at, and whether it ends there.

A cell is looked at after `FIRST` replicates, and then after as many as its least precise measure seems to need, at most
four times as many as before. Where it is looked at follows from its own rows alone, so that the sequence is the same
however often a run is interrupted, and whoever shares it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.performance import SHARES, Options, performance
from simtrial.performance.rows import rows_of
from simtrial.performance.summary import options_of
from simtrial.store.reading import SUMMARISED, stored_cells

FIRST = 1000
"""Replicates before the first look: fewer hardly tell how precise they are."""

GROWTH = 4
"""How many times as many replicates a look may ask for."""


@dataclass(frozen=True)
class Look:
    """What a look at a cell says: blocks to make before the next one (None: it ends here), and what is not met."""

    blocks: int | None
    missed: tuple[str, ...]


def first_look(block: int, most: int) -> int:
    """Blocks before the first look, no more than ``most``."""
    return min(-(-FIRST // block), most)


def look(folder: Path, run: Mapping[str, Any], cell: str, blocks: int, most: int) -> Look:
    """Look at a cell after so many blocks."""
    size = run["scenario"]["run"]["block"]
    alone = {
        **run,
        "cells": {cell: run["cells"][cell]},
        "replicates": min(blocks * size, run["replicates"]),
        "until": {},
    }
    (stored,), cells, _ = stored_cells([folder], columns=SUMMARISED, run=alone)
    stated = options_of(run)
    options = Options(list(run["until"]), stated.form, None, stated.alphas)
    frame = performance(rows_of(stored), cells.filter(pl.col("estimand") != ""), options)
    excess = {f"{m} of {name}": ratio for name, m, ratio in _ratios(frame, run["until"]) if ratio > 1}
    if not excess or blocks >= most:
        return Look(None, tuple(excess))
    return Look(next_look(blocks, max(excess.values()), most), tuple(excess))


def next_look(blocks: int, excess: float, most: int) -> int:
    """Blocks before the next look where an error is ``excess`` times as large as wanted."""
    needed = most if excess**2 * blocks > most else ceil(blocks * excess**2)
    return min(max(needed, blocks + 1), GROWTH * blocks, most)


def _ratios(frame: pl.DataFrame, wanted: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """Monte Carlo error over that wanted, of every method and measure that has a value."""
    found = []
    for row in frame.filter(pl.col("measure").is_in(list(wanted))).iter_rows(named=True):
        if row["value"] is not None and row["n"]:
            error = _error(row["measure"], row["value"], row["mcse"], row["n"])
            found.append((row["method"], row["measure"], error / wanted[row["measure"]]))
    return found


def _error(measure: str, value: float, mcse: float | None, n: int) -> float:
    """Monte Carlo error that a decision may rest on: that of a share near 0 or 1 is not taken for certainty.

    Two successes and two failures are added (Agresti and Coull 1998, doi:10.1080/00031305.1998.10480550).
    """
    if measure in SHARES:
        share = (value * n + 2) / (n + 4)
        return sqrt(share * (1 - share) / (n + 4))
    return float("inf") if mcse is None else mcse
