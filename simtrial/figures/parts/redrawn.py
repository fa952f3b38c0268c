"""Cells of a run as scenarios, for figures of trials that are drawn again."""

from __future__ import annotations

from simtrial.errors import SimtrialError
from simtrial.figures.parts.choice import Choice
from simtrial.figures.parts.material import Material
from simtrial.run.replay import cells_of
from simtrial.scenario import Cell


def cells_again(material: Material, figure: str, asked: Choice, most: int) -> list[Cell]:
    """Cells that are asked for, or the first ones."""
    if material.folder is None:
        raise SimtrialError(f"{figure}: trials are drawn again from the scenario of a run; a FILE of results has none")
    wanted = material.cells_of(asked)[: None if asked.cells else most]
    found = {cell.id: cell for cell in cells_of(material.folder)}
    return [found[cell] for cell in wanted]
