"""Runs read back: their rows, cell by cell or whole, their cells and their scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError
from simtrial.store.cell_rows import Holders, StoredCell
from simtrial.store.cells import of_request, read_cells
from simtrial.store.chunks import Stored, stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.estimate_rows import bind
from simtrial.store.identity import Identity, from_json
from simtrial.store.stops import wanted_replicates


def read_rows(folder: Path, partial: bool = False) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Read a run back whole.

    Returns
    -------
    rows, cells, run
        Rows of all replicates that were requested (surplus of the last block cut); cells.parquet and run.json.

    Raises
    ------
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    """
    parts, cells, run = read_run_by_cell([folder], partial)
    return bind([part.sort("replicate", maintain_order=True) for part in parts]), cells, run


SUMMARISED = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "ci_lower", "ci_upper", "p_value",
              "status", "flags", "own_true_value", "ci_type")  # fmt: skip
"""Columns that performance is made from; the last two only where trials have true values of their own, or confidence
sets are not all intervals."""


def read_run_by_cell(
    folders: Sequence[Path], partial: bool = False, columns: Sequence[str] | None = None,
    run: Mapping[str, Any] | None = None,
) -> tuple[Iterator[pl.DataFrame], pl.DataFrame, dict[str, Any]]:  # fmt: skip
    """Read a run back cell by cell, so that no more than one is in memory; otherwise as `read_rows`.

    ``folders`` hold the run, each a part of it. ``run``: what to read, if that is not all that the only folder is for:
    a request (`simtrial.store.directory.open_run`), or several runs put together.
    """
    cells_of_run, cells, run = stored_cells(folders, partial, columns, run)
    return (cell.whole() for cell in cells_of_run), cells, run


def stored_cells(
    folders: Sequence[Path], partial: bool = False, columns: Sequence[str] | None = None,
    run: Mapping[str, Any] | None = None,
) -> tuple[list[StoredCell], pl.DataFrame, dict[str, Any]]:  # fmt: skip
    """Find the rows of a run cell by cell, to be read in pieces or whole; otherwise as `read_run_by_cell`."""
    run = dict(run or read_run(folders[0]))
    folder, identity = folders[0], from_json(run)
    cells = _cells(folders, identity)
    size, wanted = run["scenario"]["run"]["block"], _wanted(folders, run)
    found = {
        cell: [chunk.for_rows() for place in folders for chunk in stored_chunks(place, cell, identity)]
        for cell in identity.cells
    }
    lacking, total, held = 0, 0, {}
    for cell, chunks in found.items():
        blocks = range(-(-wanted[cell] // size))
        here = _first_holders(chunks, blocks, identity)
        lacking += sum(here[block].keys() != identity.parts.keys() for block in blocks)
        total += len(blocks)
        held[cell] = here
    if lacking and not partial:
        raise IncompleteRunError(_what_lacks(folders, run, lacking, total))
    some = [cell for cell, here in held.items() if any(here.values())]
    if not some:
        raise IncompleteRunError(f"{folder}: no block is finished yet")
    stored = [
        StoredCell(
            cell=cell, replicates=wanted[cell], holders=held[cell], identity=identity, block=size, columns=columns
        )
        for cell in some
    ]  # fmt: skip
    return stored, cells, run


def _what_lacks(folders: Sequence[Path], run: Mapping[str, Any], lacking: int, total: int) -> str:
    """How much is missing, and what to do."""
    held = {folder: read_run(folder)["replicates"] for folder in folders}
    few, many = min(folders, key=lambda f: held[f]), max(folders, key=lambda f: held[f])
    if held[few] < held[many]:
        return (
            f"{few} is of {held[few]} replicates and {many} of {held[many]}: extend the first (simtrial run ... "
            f"--replicates {held[many]}), or take every method's own with --partial"
        )
    return (
        f"{folders[0]}: {lacking} of {total} blocks are missing; run the same command again (--replicates "
        f"{run['replicates']}), or take what is there with --partial"
    )


def _cells(folders: Sequence[Path], identity: Identity) -> pl.DataFrame:
    """Cells and true values; where several folders hold the run, each those that it has."""
    if len(folders) == 1:
        return read_cells(folders[0], identity)
    own = [read_cells(folder, from_json(read_run(folder))) for folder in folders]
    together = pl.concat(own, how="diagonal").unique(["cell", "estimand"], keep="first", maintain_order=True)
    return of_request(together, identity)


def _wanted(folders: Sequence[Path], run: Mapping[str, Any]) -> dict[str, int]:
    """Replicates of every cell: the most that one of the folders is for."""
    if len(folders) == 1:
        return wanted_replicates(folders[0], run)
    every = [wanted_replicates(folder, read_run(folder)) for folder in folders]
    return {cell: max(own.get(cell, 0) for own in every) for cell in run["cells"]}


def _first_holders(chunks: Sequence[Stored], blocks: range, identity: Identity) -> Holders:
    """The first chunk that holds each part of each block: a block that two hold counts once."""
    found: Holders = {block: {} for block in blocks}
    for chunk in chunks:
        parts = identity.parts.keys() & chunk.parts.keys()
        for block in chunk.blocks:
            if block in blocks:
                for part in parts:
                    found[block].setdefault(part, chunk)
    return found
