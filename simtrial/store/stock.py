"""How much of a run is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simtrial.store.chunks import held_blocks


@dataclass(frozen=True)
class Stock:
    """Blocks that a run wants and holds of every cell, and the replicates that they stand for."""

    wanted: int
    held: Mapping[str, frozenset[int]]
    replicates: int
    block: int

    @property
    def missing(self) -> int:
        """Blocks that are not stored, over all cells."""
        return sum(self.wanted - len(held) for held in self.held.values())

    @property
    def total(self) -> int:
        """Blocks of all cells."""
        return self.wanted * len(self.held)


def stock_of(folder: Path, run: Mapping[str, Any], cells: Sequence[str], replicates: int | None = None) -> Stock:
    """Count the blocks of a run that are stored; rows are not read."""
    size, replicates = run["scenario"]["run"]["block"], replicates or run["replicates"]
    wanted = range(-(-replicates // size))
    held = {cell: frozenset(held_blocks(folder, cell, run["digest"]).intersection(wanted)) for cell in cells}
    return Stock(len(wanted), held, replicates, size)
