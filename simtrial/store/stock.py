"""How much of a run is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simtrial.store.cells import has_cells
from simtrial.store.chunks import held_parts
from simtrial.store.identity import from_json
from simtrial.store.stops import wanted_replicates


@dataclass(frozen=True)
class Stock:
    """Blocks that a run wants and holds of every cell, whole, and the replicates that they stand for."""

    wanted: Mapping[str, int]
    held: Mapping[str, frozenset[int]]
    replicates: int
    block: int

    @property
    def missing(self) -> int:
        """Blocks that are not stored, or lack a method, over all cells."""
        return self.total - sum(len(held) for held in self.held.values())

    @property
    def total(self) -> int:
        """Blocks of all cells."""
        return sum(self.wanted.values())


def is_complete(folder: Path, request: Mapping[str, Any]) -> bool:
    """Whether a directory holds all that a request wants."""
    return has_cells(folder, from_json(request)) and not stock_of(folder, request).missing


def stock_of(folder: Path, run: Mapping[str, Any]) -> Stock:
    """Count the blocks of a request that are stored; rows are not read."""
    size, identity = run["scenario"]["run"]["block"], from_json(run)
    wanted = {cell: -(-number // size) for cell, number in wanted_replicates(folder, run).items()}
    held = {}
    for cell, blocks in wanted.items():
        by_block = held_parts(folder, cell, identity)
        held[cell] = frozenset(b for b, parts in by_block.items() if b < blocks and len(parts) == len(identity.parts))
    return Stock(wanted, held, run["replicates"], size)
