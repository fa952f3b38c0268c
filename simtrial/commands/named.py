"""Cells of a stored run by the names that people give them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl


def named_cells(cells: pl.DataFrame, names: Sequence[str]) -> list[str]:
    """Ids of the cells that names stand for; some of the factors of cells name every cell that has them."""
    from simtrial.report.tables import cell_labels
    from simtrial.scenario.named import cell_by_name, factors_in, unknown_cell

    labels = cell_labels(cells)
    varied = {str(cell) for cell, factors in cells.select("cell", "factors").iter_rows() if factors != "{}"}
    found = []
    for name in names:
        one = cell_by_name(name, labels, varied)
        wanted = set(factors_in(name))
        several = [one] if one is not None else [c for c in labels if wanted <= set(factors_in(labels[c]))]
        if not several:
            raise unknown_cell(name, list(labels.values()))
        found += several
    return [cell for cell in labels if cell in found]
