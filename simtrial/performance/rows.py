"""Rows as measures are made from them: a frame, or columns in a file where they are too many to be held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import polars as pl

from simtrial.performance.groups import Group, groups_held
from simtrial.performance.long_rows import LongRows, Pieces
from simtrial.performance.tiled import TILE

Rows = pl.DataFrame | LongRows
"""One row per replicate, method and estimand."""


class Cell(Pieces, Protocol):
    """Rows of one cell, in pieces or in one frame."""

    def whole(self) -> pl.DataFrame:
        """All rows."""
        ...


def rows_of(cell: Cell) -> Rows:
    """Rows of a cell: in a file if a tile cannot hold its replicates."""
    return LongRows(cell) if cell.replicates > TILE else cell.whole()


def groups_of(rows: Rows, common: bool = False) -> Iterator[Group]:
    """Rows by cell and estimand; ``common`` as in `simtrial.performance.Options`."""
    return rows.groups(common) if isinstance(rows, LongRows) else groups_held(rows, common)


def first_failures(rows: Rows) -> list[tuple[str, str, int]]:
    """Cell, method and number of the first replicate in which each method failed, by that number."""
    if isinstance(rows, LongRows):
        return [(rows.cell, method, replicate) for method, replicate in rows.first_failures]
    failed = rows.filter(pl.col("status") == "failed").sort("replicate", maintain_order=True)
    first = failed.unique("method", keep="first", maintain_order=True).select("cell", "method", "replicate")
    return [(str(cell), str(method), int(replicate)) for cell, method, replicate in first.iter_rows()]
