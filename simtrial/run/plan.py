"""What is to be done for a request: the chunks and true values that a run directory does not hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from simtrial.core import serving
from simtrial.run.precision import first_look, look
from simtrial.run.tasks import Chunk, Truth
from simtrial.scenario import Scenario
from simtrial.store.cells import has_cells
from simtrial.store.chunks import held_parts
from simtrial.store.identity import Part, from_json, mark_of
from simtrial.store.paths import Place
from simtrial.store.stock import Stock
from simtrial.store.stops import read_stop, write_stop
from simtrial.store.truths import read_truths, truth_files


def enough_chunks(scenario: Scenario, cells: int, workers: int, most: int) -> int:
    """Replicates per stored file of which every worker has several: whole blocks, and no more than ``most``."""
    return min(most, max(scenario.run.block, -(-scenario.run.replicates * cells // (2 * workers))))


class Plan:
    """What a request wants of a run directory, and what of it is missing."""

    def __init__(self, folder: Path, request: Mapping[str, Any], per_chunk: int, shard: tuple[int, int]) -> None:
        self.folder, self.request, self.per_chunk, self.shard = folder, request, per_chunk, shard
        self.identity = from_json(request)
        self.size = request["scenario"]["run"]["block"]
        self.most = -(-request["replicates"] // self.size)
        first = {(method, estimand) for method, estimand in request["first_parts"]}
        self._first = frozenset(first)
        self._held = {cell: held_parts(folder, cell, self.identity) for cell in self.identity.cells}

    def first_goals(self) -> dict[str, int]:
        """Blocks that every cell is to have at first."""
        if not self.request["until"]:
            return dict.fromkeys(self.identity.cells, self.most)
        goals = {}
        for cell in self.identity.cells:
            stop = read_stop(self.folder, self.request, cell)
            goals[cell] = first_look(self.size, self.most) if stop is None else -(-stop["replicates"] // self.size)
        return goals

    def further(self, goals: Mapping[str, int]) -> dict[str, int]:
        """Blocks of the cells that are not precise enough after these; cells that are end there for good."""
        found: dict[str, int] = {}
        if not self.request["until"]:
            return found
        for cell, blocks in goals.items():
            if read_stop(self.folder, self.request, cell) is not None:
                continue
            seen = look(self.folder, self.request, cell, blocks, self.most)
            if seen.blocks is not None:
                found[cell] = seen.blocks
            else:
                number = min(blocks * self.size, self.request["replicates"])
                write_stop(self.folder, self.request, cell, number, list(seen.missed))
        return found

    def truths(self) -> list[Truth]:
        """True values that are not stored."""
        if has_cells(self.folder, self.identity):
            return []
        files, tasks = truth_files(self.folder), []
        for cell in self.identity.cells:
            known = read_truths(self.folder, self.identity, files.get(cell, []), cell)
            lacking = tuple((name, digest) for name, digest in self.identity.estimands.items() if name not in known)
            if lacking:
                tasks.append(Truth(str(self.folder), self.request["digest"], cell, lacking, serving()))
        return tasks

    def stored(self, goals: Mapping[str, int]) -> int:
        """Blocks that are stored whole."""
        every = len(self.identity.parts)
        held = ((goals[cell], blocks) for cell, blocks in self._held.items())
        return sum(len(parts) == every for goal, blocks in held for block, parts in blocks.items() if block < goal)

    def chunks(self, goals: Mapping[str, int]) -> list[Chunk]:
        """Chunks of this shard that no stored chunk covers."""
        shares = _shares(goals, self.per_chunk, self.shard)
        found = []
        for cell, goal in goals.items():
            made = [c for c in self._of_cell(cell, goal) if (cell, c.place.first // self.per_chunk) in shares]
            for chunk in made:  # each is handed out once: what is left of it then is another run's, or failed
                for block in range(chunk.place.first, chunk.place.last + 1):
                    self._held[cell][block] = frozenset(self.identity.parts)
            found += made
        return found

    def _of_cell(self, cell: str, goal: int) -> Iterator[Chunk]:
        """Chunks of the blocks of a cell that lack parts; none spans two runs of ``per_chunk``: shards agree."""
        held, every = self._held[cell], frozenset(self.identity.parts)
        begun: tuple[int, frozenset[Part]] | None = None
        for block in range(goal + 1):
            lacking = every - held.get(block, frozenset()) if block < goal else frozenset[Part]()
            if begun is not None and (lacking != begun[1] or block % self.per_chunk == 0):
                yield self._chunk(cell, begun[0], block - 1, begun[1])
                begun = None
            if begun is None and lacking:
                begun = block, lacking

    def _chunk(self, cell: str, first: int, last: int, parts: frozenset[Part]) -> Chunk:
        mark = "" if parts == self._first else mark_of(parts)
        ordered = tuple(part for part in self.identity.parts if part in parts)
        return Chunk(str(self.folder), self.request["digest"], Place(cell, first, last, mark), ordered, serving())


def _shares(goals: Mapping[str, int], per_chunk: int, shard: tuple[int, int]) -> set[tuple[str, int]]:
    """Cells and places of the chunks that belong to a shard, dealt out like cards over all cells."""
    every = [(cell, place) for cell, blocks in goals.items() for place in range(-(-blocks // per_chunk))]
    return set(every[shard[0] - 1 :: shard[1]])


def shards_of(stock: Stock, per_chunk: int, shards: int) -> list[int]:
    """Shards, counted from 1, of which a chunk is not stored."""

    def is_whole(cell: str, place: int) -> bool:
        blocks = range(place * per_chunk, min((place + 1) * per_chunk, stock.wanted[cell]))
        return set(blocks) <= stock.held[cell]

    parts = ((shard, _shares(stock.wanted, per_chunk, (shard, shards))) for shard in range(1, shards + 1))
    return [shard for shard, own in parts if not all(is_whole(*place) for place in own)]
