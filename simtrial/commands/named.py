"""Cells by the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    import polars as pl

    from simtrial.scenario import Cell


def named_cell(cells: list[Cell], name: str | None) -> Cell:
    """Cell by name: its factors in any order (0.10 is 0.1), the name in files, or its id; default: the first."""
    if name is None:
        return cells[0]
    chosen = _one(name, {cell.id: cell.label for cell in cells}, {cell.id for cell in cells if cell.factors})
    if chosen is None:
        raise _unknown(name, [cell.label for cell in cells])
    return next(cell for cell in cells if cell.id == chosen)


def named_cells(cells: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Ids of the cells that names stand for; some of the factors of cells name every cell that has them."""
    from simtrial.report.tables import cell_labels

    labels = cell_labels(cells)
    varied = {str(cell) for cell, factors in cells.select("cell", "factors").iter_rows() if factors != "{}"}
    found = []
    for name in names:
        one = _one(name, labels, varied)
        wanted = set(_factors(name))
        several = [one] if one is not None else [c for c in labels if wanted <= set(_factors(labels[c]))]
        if not several:
            raise _unknown(name, list(labels.values()))
        found += several
    return [cell for cell in labels if cell in found]


def _unknown(name: str, labels: Sequence[str]) -> SimtrialError:
    from simtrial.errors import unknown

    return SimtrialError(unknown("cell", name, labels))


def _one(name: str, labels: Mapping[str, str], varied: set[str]) -> str | None:
    """Id of the cell that a name stands for."""
    from simtrial.scenario.cells import names_for_files

    files = names_for_files({cell: label if cell in varied else "" for cell, label in labels.items()})
    parts = _factors(name)
    for cell, label in labels.items():
        if (name and name in (cell, label, files[cell])) or parts == _factors(label):
            return cell
    return None


def _factors(label: str) -> list[str]:
    """Factors of a cell's name in one order and without spaces, numbers in one spelling."""
    return sorted("=".join(_spelled(side) for side in part.split("=")) for part in label.split(","))


def _spelled(text: str) -> str:
    """A number as Python writes it, true and false in small letters, anything else as it is."""
    text = text.strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
