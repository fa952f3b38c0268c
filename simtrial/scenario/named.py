"""Cells by the names that people give them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from simtrial.errors import SimtrialError, unknown
from simtrial.scenario.cells import Cell, names_for_files


def named_cell(cells: Sequence[Cell], name: str | None) -> Cell:
    """Cell by name: its factors in any order (0.10 is 0.1), the name in files, or its id; default: the first."""
    if name is None:
        return cells[0]
    chosen = cell_by_name(name, {cell.id: cell.label for cell in cells}, {cell.id for cell in cells if cell.factors})
    if chosen is None:
        raise unknown_cell(name, [cell.label for cell in cells])
    return next(cell for cell in cells if cell.id == chosen)


def unknown_cell(name: str, labels: Sequence[str]) -> SimtrialError:
    """Error for a name that no cell has, with the nearest one."""
    return SimtrialError(unknown("cell", name, labels))


def cell_by_name(name: str, labels: Mapping[str, str], varied: set[str]) -> str | None:
    """Id of the cell that a name stands for."""
    files = names_for_files({cell: label if cell in varied else "" for cell, label in labels.items()})
    parts = factors_in(name)
    for cell, label in labels.items():
        if (name and name in (cell, label, files[cell])) or parts == factors_in(label):
            return cell
    return None


def factors_in(label: str) -> list[str]:
    """Factors of a cell's name in one order and without spaces, numbers in one spelling."""
    return sorted("=".join(_spelled(side) for side in part.split("=")) for part in label.split(","))


def _spelled(text: str) -> str:
    """A number as Python writes it, true and false in small letters, anything else as it is."""
    text = text.strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
