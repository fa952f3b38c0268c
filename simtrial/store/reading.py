"""A run read back: its rows, cell by cell or whole, its cells and its scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError
from simtrial.store.cells import read_cells
from simtrial.store.chunks import Stored, read_chunk, stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.estimate_rows import bind


def read_rows(
    folder: Path, partial: bool = False, replicates: int | None = None
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Read a run back whole.

    Returns
    -------
    rows, cells, run
        Rows of the first ``replicates``, or of all that were requested (surplus of the last block cut); cells.parquet
        and run.json.

    Raises
    ------
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    """
    parts, cells, run = read_run_by_cell(folder, partial, replicates=replicates)
    return bind([part.sort("replicate", maintain_order=True) for part in parts]), cells, run


SUMMARISED = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "ci_lower", "ci_upper", "p_value",
              "status", "flags", "own_true_value", "ci_type")  # fmt: skip
"""Columns that performance is made from; the last two only where trials have true values of their own, or confidence
sets are not all intervals."""


def read_run_by_cell(
    folder: Path, partial: bool = False, columns: Sequence[str] | None = None, replicates: int | None = None
) -> tuple[Iterator[pl.DataFrame], pl.DataFrame, dict[str, Any]]:
    """Read a run back cell by cell, so that no more than one is in memory; otherwise as `read_rows`."""
    run = read_run(folder)
    cells = read_cells(folder, run["digest"])
    size, replicates = run["scenario"]["run"]["block"], replicates or run["replicates"]
    wanted = -(-replicates // size)
    found = {
        cell: list(stored_chunks(folder, cell, run["digest"])) for cell in cells["cell"].unique(maintain_order=True)
    }
    held = [len({b for chunk in chunks for b in chunk.blocks if b < wanted}) for chunks in found.values()]
    total = wanted * len(found)
    if sum(held) < total and not partial:
        raise IncompleteRunError(
            f"{folder}: {total - sum(held)} of {total} blocks are missing; run the same command again (--replicates "
            f"{replicates}), or summarise with --partial"
        )
    if not sum(held):
        raise IncompleteRunError(f"{folder}: no block is finished yet")
    some = (chunks for chunks, number in zip(found.values(), held, strict=True) if number)
    return (_cell_rows(chunks, size, replicates, columns) for chunks in some), cells, run


def _cell_rows(chunks: Sequence[Stored], size: int, replicates: int, columns: Sequence[str] | None) -> pl.DataFrame:
    """Rows of one cell, each block once; those of a method in order of replicates."""
    seen: set[int] = set()
    frames, wanted = [], range(-(-replicates // size))
    for chunk in chunks:
        new = [block for block in chunk.blocks if block in wanted and block not in seen]
        if new:
            frames.append(_only_blocks(read_chunk(chunk, columns), new, len(chunk.blocks), size, replicates))
            seen |= set(new)
    return bind(frames)


def _only_blocks(frame: pl.DataFrame, wanted: list[int], there: int, size: int, replicates: int) -> pl.DataFrame:
    """Leave out blocks of a chunk that are held elsewhere, and replicates beyond those wanted."""
    if len(wanted) == there and (wanted[-1] + 1) * size <= replicates:
        return frame
    return frame.filter(((pl.col("replicate") - 1) // size).is_in(wanted) & (pl.col("replicate") <= replicates))
