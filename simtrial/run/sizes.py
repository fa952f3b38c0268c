"""Sizes of the trials of cells, and cells with blocks of another size: what cost and memory go by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import ceil
from typing import NamedTuple

from simtrial.generate import drawn_for, simulate
from simtrial.scenario import Cell

ENOUGH = 2_000
"""People that the mean size of a trial rests on, and at least `FEW` trials."""

FEW = 5


class Size(NamedTuple):
    """Mean number of people and practices of a trial."""

    people: float
    practices: float


def with_block(cell: Cell, block: int) -> Cell:
    """The same cell with blocks of another size: other trials, and the same kind of work."""
    run = cell.scenario.run.model_copy(update={"block": block})
    return replace(cell, scenario=replace(cell.scenario, run=run))


def sizes(cells: Sequence[Cell]) -> list[Size]:
    """Mean sizes of the trials of every cell, drawn once for cells that enrol alike."""
    texts: dict[int, str] = {}
    known: dict[tuple[str, ...], Size] = {}
    found = []
    for cell in cells:
        steps = [step for stage, step in cell.scenario.mechanism.items() if not _is_after(stage)]
        for step in steps:
            if id(step) not in texts:
                texts[id(step)] = f"{step.stage} {step.model_dump_json()}"
        key = tuple(texts[id(step)] for step in steps)
        if key not in known:
            known[key] = _size(cell)
        found.append(known[key])
    return found


def _is_after(stage: str) -> bool:
    """Whether a stage comes when everybody has been enrolled."""
    return stage.startswith("outcomes.") or stage in ("delivery", "safety", "dropout", "missingness")


def _size(cell: Cell) -> Size:
    """Mean size of a few trials; only what enrols people is drawn."""
    enrolling = drawn_for(cell.scenario.needed, frozenset(), masks=False)
    one = simulate(enrolling, 1, 0, "", 0, purpose="size: ").index
    trials = max(FEW, ceil(ENOUGH / max(one.participants, 1)))
    index = simulate(enrolling, trials, 0, "", 0, purpose="size: ").index
    return Size(max(index.participants / trials, 1.0), index.practices / trials)
