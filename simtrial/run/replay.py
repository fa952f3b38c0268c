"""One replicate of a stored run made again: its rows, beside those that are stored."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from simtrial.errors import SimtrialError
from simtrial.plugins.load import load_plugins
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, rebuild
from simtrial.store.chunks import read_chunk, stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.estimate_rows import bind
from simtrial.store.identity import from_json


def cells_of(folder: Path) -> list[Cell]:
    """Cells of a stored run, its plug-ins loaded."""
    run = read_run(folder)
    load_plugins([plugin["name"] for plugin in run["plugins"]])
    return rebuild(run["scenario"])[1]


def replayed(cell: Cell, replicate: int) -> pl.DataFrame:
    """Rows of one replicate by every method, computed anew with its block as in a run."""
    block = (replicate - 1) // cell.scenario.run.block
    return block_rows(cell, block).filter(pl.col("replicate") == replicate)


def stored_rows(folder: Path, cell: Cell, replicate: int) -> pl.DataFrame | None:
    """Stored rows of one replicate, None where they are not stored."""
    block = (replicate - 1) // cell.scenario.run.block
    identity, frames, seen = from_json(read_run(folder)), [], set[tuple[str, str]]()
    for found in stored_chunks(folder, cell.id, identity):
        if block in found.blocks:
            new = [part for part in identity.parts if part in found.parts and part not in seen]
            frame = read_chunk(found).filter(pl.col("replicate") == replicate)
            frames += [frame.filter(method=method, estimand=estimand) for method, estimand in new]
            seen |= set(new)
    return bind(frames) if frames else None


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
