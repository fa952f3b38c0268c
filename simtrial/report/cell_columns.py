"""Cells of a sweep in tables: a column for each varied factor, under its short name."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from simtrial.errors import SimtrialError, unknown
from simtrial.scenario.cells import short_names


@dataclass(frozen=True)
class CellColumns:
    """Headings of the factors, in the scenario's order as in the names of cells, and the levels of every cell.

    A single cell has no columns. A cell without a factor that others have shows a dash.
    """

    headings: Sequence[str]
    of: Mapping[str, Sequence[str]]

    @property
    def count(self) -> int:
        """How many columns there are."""
        return len(self.headings)

    def place(self, name: str, option: str) -> int:
        """Which column a factor is, by its short or full name."""
        if not self.headings:
            raise SimtrialError(f"{option} {name}: there is one cell, and no factor varies")
        short = name if name in self.headings else name.rsplit(".", 1)[-1]
        if short not in self.headings:
            raise SimtrialError(f"{option}: {unknown('factor', name, self.headings)}")
        return list(self.headings).index(short)

    def without(self, at: int) -> CellColumns:
        """All columns but one."""
        rest = {cell: [level for k, level in enumerate(row) if k != at] for cell, row in self.of.items()}
        return CellColumns([h for k, h in enumerate(self.headings) if k != at], rest)


def cell_columns(cells: pl.DataFrame) -> CellColumns:
    """Columns of the factors of all cells of a run or file."""
    found = {
        str(cell): json.loads(factors)
        for cell, factors in cells.select("cell", "factors").unique(maintain_order=True).iter_rows()
    }
    if len(found) < 2:
        return CellColumns([], {cell: [] for cell in found})
    names = [*dict.fromkeys(name for factors in found.values() for name in factors)]
    if not names:
        return CellColumns(["cell"], {cell: [cell] for cell in found})
    rows = {cell: [_level(factors, name) for name in names] for cell, factors in found.items()}
    short = short_names(names)
    return CellColumns([short[name] for name in names], rows)


def _level(factors: Mapping[str, object], name: str) -> str:
    """Level of a factor as text: a list or table as JSON, yes and no as TOML writes them."""
    if name not in factors or factors[name] is None:
        return "-"
    value = factors[name]
    return value if isinstance(value, str) else json.dumps(value)
