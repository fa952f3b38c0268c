"""Runs read back: their rows, cell by cell or whole, their cells and their scenario."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError
from simtrial.store.cells import of_request, read_cells
from simtrial.store.chunks import Stored, read_chunk, stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.estimate_rows import bind
from simtrial.store.identity import Identity, Part, from_json
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
    run = dict(run or read_run(folders[0]))
    folder, identity = folders[0], from_json(run)
    cells = _cells(folders, identity)
    size, wanted = run["scenario"]["run"]["block"], _wanted(folders, run)
    found = {
        cell: [chunk for place in folders for chunk in stored_chunks(place, cell, identity)] for cell in identity.cells
    }
    lacking, total, held = 0, 0, {}
    for cell, chunks in found.items():
        blocks = range(-(-wanted[cell] // size))
        here = _first_holders(chunks, blocks, identity)
        lacking += sum(here[block].keys() != identity.parts.keys() for block in blocks)
        total += len(blocks)
        held[cell] = here
    if lacking and not partial:
        raise IncompleteRunError(
            f"{folder}: {lacking} of {total} blocks are missing; run the same command again (--replicates "
            f"{run['replicates']}), or summarise with --partial"
        )
    some = [cell for cell, here in held.items() if any(here.values())]
    if not some:
        raise IncompleteRunError(f"{folder}: no block is finished yet")
    return (_cell_rows(held[cell], identity, size, wanted[cell], columns) for cell in some), cells, run


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


Holders = dict[int, dict[Part, Stored]]
"""The chunk that each part of each block is read from."""


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


def _cell_rows(
    holders: Holders, identity: Identity, size: int, replicates: int, columns: Sequence[str] | None
) -> pl.DataFrame:
    """Rows of one cell, each block and part once; those of a method in order of replicates."""
    uses: dict[Path, tuple[Stored, dict[frozenset[Part], list[int]]]] = {}
    for block, by_part in holders.items():
        from_chunk: dict[Path, list[Part]] = {}
        for part, chunk in by_part.items():
            uses.setdefault(chunk.file, (chunk, {}))
            from_chunk.setdefault(chunk.file, []).append(part)
        for file, parts in from_chunk.items():
            uses[file][1].setdefault(frozenset(parts), []).append(block)
    frames = []
    for chunk, wanted in uses.values():
        frame = read_chunk(chunk, columns)
        frames += [_only(frame, chunk, parts, blocks, size, replicates) for parts, blocks in wanted.items()]
    rows = bind(frames)
    return rows if _in_order(holders, identity) else _by_part(rows, identity)


def _in_order(holders: Holders, identity: Identity) -> bool:
    """Whether every block is read from one chunk, which has the parts in the order of the request."""
    one = all(len({chunk.file for chunk in by_part.values()}) <= 1 for by_part in holders.values())
    chunks = {chunk.file: chunk for by_part in holders.values() for chunk in by_part.values()}
    orders = ([part for part in chunk.parts if part in identity.parts] for chunk in chunks.values())
    return one and all(order == [part for part in identity.parts if part in order] for order in orders)


def _by_part(rows: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """Rows part by part, as the request orders them, and in a part by replicate."""
    lines = [(*part, number) for number, part in enumerate(identity.parts)]
    kinds = {name: rows.schema[name] for name in ("method", "estimand")}
    order = pl.DataFrame(lines, schema={"method": pl.String, "estimand": pl.String, "_part": pl.Int64}, orient="row")
    joined = rows.join(order.cast(kinds), on=["method", "estimand"], how="left", maintain_order="left")  # type: ignore[arg-type]
    return joined.sort("_part", "replicate").drop("_part")


def _only(
    frame: pl.DataFrame, chunk: Stored, parts: frozenset[Part], blocks: list[int], size: int, replicates: int
) -> pl.DataFrame:
    """Leave out parts and blocks of a chunk that are read from others, and replicates beyond those wanted."""
    if parts != chunk.parts.keys():
        pairs = pl.DataFrame(sorted(parts), schema={"method": pl.String, "estimand": pl.String}, orient="row")
        kinds = {name: frame.schema[name] for name in ("method", "estimand")}
        frame = frame.join(pairs.cast(kinds), on=["method", "estimand"], how="semi", maintain_order="left")  # type: ignore[arg-type]
    if len(blocks) == len(chunk.blocks) and (blocks[-1] + 1) * size <= replicates:
        return frame
    return frame.filter(((pl.col("replicate") - 1) // size).is_in(blocks) & (pl.col("replicate") <= replicates))
