"""One replicate of a stored run made again: its rows, beside those that are stored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl

from simtrial.errors import SimtrialError
from simtrial.estimators.contained import trial_wanted
from simtrial.plugins.recorded import load_recorded
from simtrial.run.loop import block_rows
from simtrial.scenario import Cell, rebuild
from simtrial.store.chunks import read_chunk, stored_chunks
from simtrial.store.directory import read_run


def cells_of(folder: Path, told: Callable[[str], object] | None = None) -> list[Cell]:
    """Cells of a stored run, its plug-ins loaded; ``told`` is told of changed source where it is not refused."""
    run = read_run(folder)
    load_recorded(run["plugins"], told)
    return rebuild(run["scenario"])[1]


def replayed(cell: Cell, replicate: int) -> pl.DataFrame:
    """Rows of one replicate by every method, computed anew with its block as in a run.

    Functions of one trial are called for the replicate alone.
    """
    block, place = divmod(replicate - 1, cell.scenario.run.block)
    held = trial_wanted.set(place)
    try:
        return block_rows(cell, block).filter(pl.col("replicate") == replicate)
    finally:
        trial_wanted.reset(held)


def stored_rows(folder: Path, cell: Cell, replicate: int) -> pl.DataFrame | None:
    """Stored rows of one replicate, None where they are not stored."""
    block = (replicate - 1) // cell.scenario.run.block
    for found in stored_chunks(folder, cell.id, read_run(folder)["digest"]):
        if block in found.blocks:
            return read_chunk(found).filter(pl.col("replicate") == replicate)
    return None


def differing(again: pl.DataFrame, stored: pl.DataFrame) -> list[str]:
    """Methods whose rows are not the stored ones, to the last digit."""
    columns = [name for name in stored.columns if name in again.columns]
    if again.height != stored.height:
        raise SimtrialError("the stored rows are of other methods or estimands: another version made them")
    return [
        str(method)
        for (method,), rows in again.select(columns).group_by("method", maintain_order=True)
        if not rows.equals(stored.select(columns).filter(pl.col("method") == method))
    ]
