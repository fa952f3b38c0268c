"""A run read back: its rows, cell by cell or whole, its cells and its scenario."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError, StoreError
from simtrial.store.chunks import chunk_files, read_chunk
from simtrial.store.directory import read_run
from simtrial.store.estimate_rows import bind
from simtrial.store.paths import cells_file


def read_rows(folder: Path, partial: bool = False) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Read a run back whole.

    Returns
    -------
    rows, cells, run
        Rows of the replicates asked for (surplus of the last block cut), cells.parquet, and run.json.

    Raises
    ------
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    """
    parts, cells, run = read_cells(folder, partial)
    return bind([part.sort("replicate", maintain_order=True) for part in parts]), cells, run


SUMMARISED = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "ci_lower", "ci_upper", "p_value",
              "status", "flags", "own_true_value", "ci_type")  # fmt: skip
"""Columns that performance is made from; the last two only where trials have true values of their own, or confidence
sets are not all intervals."""


def read_cells(
    folder: Path, partial: bool = False, columns: Sequence[str] | None = None
) -> tuple[Iterator[pl.DataFrame], pl.DataFrame, dict[str, Any]]:
    """Read a run back cell by cell, so that no more than one is in memory; otherwise as `read_rows`."""
    run = read_run(folder)
    file = cells_file(folder)
    if not file.is_file():
        raise IncompleteRunError(f"{folder}: no true values yet; run the same command again")
    try:
        cells = pl.read_parquet(file)
    except (pl.exceptions.PolarsError, OSError) as error:
        cause = str(error).splitlines()[0]
        raise StoreError(f"{file}: damaged ({cause}); delete it and run the same command again") from None
    wanted = -(-run["replicates"] // run["scenario"]["run"]["block"])
    found = {cell: chunk_files(folder, cell) for cell in cells["cell"].unique(maintain_order=True)}
    held = [len({b for first, last, _ in files for b in range(first, last + 1) if b < wanted})
            for files in found.values()]  # fmt: skip
    total = wanted * len(found)
    if sum(held) < total and not partial:
        raise IncompleteRunError(
            f"{folder}: {total - sum(held)} of {total} blocks are missing; run the same command again, or summarise "
            "with --partial"
        )
    if not sum(held):
        raise IncompleteRunError(f"{folder}: no block is finished yet")
    return (_cell_rows(f, wanted, run, columns) for f, n in zip(found.values(), held, strict=True) if n), cells, run


def _cell_rows(
    files: Sequence[tuple[int, int, Path]], wanted: int, run: dict[str, Any], columns: Sequence[str] | None
) -> pl.DataFrame:
    """Rows of one cell, each block once; those of a method in order of replicates."""
    seen: set[int] = set()
    frames = []
    for first, last, file in files:
        new = [b for b in range(first, min(last + 1, wanted)) if b not in seen]
        if new:
            frames.append(_only_blocks(read_chunk(file, columns), new, last - first + 1, run))
            seen |= set(new)
    return bind(frames)


def _only_blocks(frame: pl.DataFrame, wanted: list[int], there: int, run: dict[str, Any]) -> pl.DataFrame:
    """Leave out blocks of a chunk that are held elsewhere, and replicates nobody asked for."""
    size, replicates = run["scenario"]["run"]["block"], run["replicates"]
    if len(wanted) == there and (wanted[-1] + 1) * size <= replicates:
        return frame
    return frame.filter(((pl.col("replicate") - 1) // size).is_in(wanted) & (pl.col("replicate") <= replicates))
