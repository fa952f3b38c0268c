"""What a worker does of a run: chunks of whole blocks and true values, each claimed, made and stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.core import using
from simtrial.errors import RunError
from simtrial.estimands import true_values
from simtrial.plugins.recorded import load_recorded
from simtrial.run.block import block_pieces
from simtrial.run.standing import Made
from simtrial.run.stopwatch import ROWS, Stopwatch
from simtrial.scenario import Cell, Scenario, rebuild_cell, rebuild_scenario
from simtrial.scenario.memory import Memory
from simtrial.store import directory
from simtrial.store.chunks import is_held, write_chunk
from simtrial.store.claims import claimed
from simtrial.store.data_checks import Checks
from simtrial.store.estimate_rows import table
from simtrial.store.identity import Identity, Part, from_json, restricted
from simtrial.store.paths import Place, claim_file, truth_file
from simtrial.store.truths import mark, write_truth

HELD, CLAIMED = "held", "claimed"
"""What became of a task that was not done here: stored by another process, or being done by one."""


@dataclass(frozen=True)
class Chunk:
    """Some blocks of one cell, analysed by some methods, to be stored in one file of a run directory.

    ``digest`` is that of the request; ``parts`` are methods with their estimands; ``without`` is a method that is not
    tried, because it may be the one that ends its process: its fits count as failed. ``core`` computes it.
    """

    folder: str
    digest: str
    place: Place
    parts: tuple[Part, ...]
    core: str
    without: str = ""

    @property
    def blocks(self) -> int:
        """Number of its blocks."""
        return self.place.last - self.place.first + 1

    @property
    def claim(self) -> Path:
        """File by which a process claims it."""
        return claim_file(Path(self.folder), self.place.cell, self.place.name)

    def is_stored(self) -> bool:
        """Whether it is stored by now."""
        return is_held(Path(self.folder), self.place)

    def do(self) -> Made:
        """Simulate, analyse and store it."""
        begun = time.monotonic()
        run = _opened(self.folder, self.digest)
        digests, cell = run.digests(self.parts), run.cell(self.place.cell, self.parts)
        failures, watch, data = list[dict[str, Any]](), Stopwatch(), dict[str, Checks]()
        every = range(self.place.first, self.place.last + 1)
        pieces = [piece for b in every for piece in block_pieces(cell, b, failures, self.without, watch, data)]
        with watch(ROWS):
            own = table(pieces)
        write_chunk(
            Path(self.folder), self.place, own, failures=failures, trials=run.identity.trials,
            parts=digests, provenance=directory.provenance(cell.scenario, run.identity.trials),
            about={"seconds": round(time.monotonic() - begun, 3), "timings": watch.rounded(),
                   "versions": directory.versions(), "data": data},
        )  # fmt: skip
        return Made(own.height, own.filter(pl.col("status") == "failed").select("replicate", "method").n_unique())


@dataclass(frozen=True)
class Truth:
    """True values of some estimands in one cell, to be found by a ``core``; estimands with their digests."""

    folder: str
    digest: str
    cell: str
    estimands: tuple[tuple[str, str], ...]
    core: str

    @property
    def claim(self) -> Path:
        """File by which a process claims it."""
        return claim_file(Path(self.folder), self.cell, f"truth-{mark(dict(self.estimands))}")

    def is_stored(self) -> bool:
        """Whether they are stored by now."""
        return truth_file(Path(self.folder), self.cell, mark(dict(self.estimands))).is_file()

    def do(self) -> Made:
        """Find and store them."""
        run, wanted = _opened(self.folder, self.digest), dict(self.estimands)
        cell = run.cell(self.cell)
        some = [e for e in cell.scenario.estimands if e.name in wanted]
        found = true_values(some, cell.scenario.mechanism, cell.scenario.run.seed, cell.key)
        write_truth(Path(self.folder), self.cell, run.identity.trials, wanted, found)
        return Made(len(found), 0)


Task = Chunk | Truth


def perform(task: Task) -> Made | str:
    """Do one task of a run, unless another process has done so or is about to."""
    if task.is_stored():
        return HELD
    with claimed(task.claim) as free:
        if not free:
            return CLAIMED
        with using(task.core):
            return task.do()


class _Opened:
    """A run as a worker holds it: its scenario, and the cells that it has worked on."""

    def __init__(self, folder: Path) -> None:
        record = directory.read_run(folder)
        load_recorded(record["plugins"])
        self.identity: Identity = from_json(record)
        self._scenario: Scenario = rebuild_scenario(record["scenario"])
        self._memory, self._cells = Memory(), dict[str, Cell]()
        self._some: dict[tuple[str, tuple[Part, ...]], Cell] = {}

    def cell(self, name: str, parts: tuple[Part, ...] = ()) -> Cell:
        """A cell, with the methods of these parts alone where there are any."""
        if name not in self._cells:
            self._cells[name] = rebuild_cell(self._scenario, self._varied(name), self._memory)
        if not parts:
            return self._cells[name]
        if (name, parts) not in self._some:
            whole = self._cells[name]
            self._some[name, parts] = replace(whole, scenario=restricted(whole.scenario, parts))
        return self._some[name, parts]

    def _varied(self, name: str) -> Mapping[str, Any]:
        if name not in self.identity.cells:
            raise RunError(f"another process has replaced the request: it has no cell '{name}' any more")
        return self.identity.cells[name]

    def digests(self, parts: tuple[Part, ...]) -> dict[Part, str]:
        """Digests of parts."""
        found: dict[Part, str] = {}
        for part in parts:
            digest = self.identity.digest(part)
            if digest is None:
                raise RunError(f"another process has replaced the request: it has no method '{part[0]}' any more")
            found[part] = digest
        return found


@lru_cache(maxsize=4)
def _opened(folder: str, digest: str) -> _Opened:
    """The run in a folder, read once for each request (``digest``)."""
    return _Opened(Path(folder))
