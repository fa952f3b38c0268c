"""What a worker does of a run: chunks of whole blocks and true values, each claimed, made and stored."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from simtrial.errors import RunError
from simtrial.estimands import true_values
from simtrial.plugins.load import load_plugins
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, Scenario, rebuild_cell, rebuild_scenario
from simtrial.scenario.memory import Memory
from simtrial.store import directory
from simtrial.store.chunks import is_held, write_chunk
from simtrial.store.claims import claimed
from simtrial.store.estimate_rows import bind
from simtrial.store.identity import Identity, Part, from_json, restricted
from simtrial.store.paths import Place, claim_file, truth_file
from simtrial.store.truths import mark, write_truth

MADE, HELD, CLAIMED = "made", "held", "claimed"
"""What became of a task: done here, stored by another process, or being done by one."""


@dataclass(frozen=True)
class Chunk:
    """Some blocks of one cell, analysed by some methods, to be stored in one file of a run directory.

    ``digest`` is that of the request; ``parts`` are methods with their estimands; ``without`` is a method that is not
    tried, because it may be the one that ends its process: its fits count as failed.
    """

    folder: str
    digest: str
    place: Place
    parts: tuple[Part, ...]
    without: str = ""

    @property
    def claim(self) -> Path:
        """File by which a process claims it."""
        return claim_file(Path(self.folder), self.place.cell, self.place.name)

    def is_stored(self) -> bool:
        """Whether it is stored by now."""
        return is_held(Path(self.folder), self.place)

    def do(self) -> None:
        """Simulate, analyse and store it."""
        begun = time.monotonic()
        run = _opened(self.folder, self.digest)
        digests, cell = run.digests(self.parts), run.cell(self.place.cell, self.parts)
        failures: list[dict[str, Any]] = []
        every = range(self.place.first, self.place.last + 1)
        own = [block_rows(cell, block, failures, self.without) for block in every]
        write_chunk(
            Path(self.folder), self.place, bind(own), failures=failures, trials=run.identity.trials,
            parts=digests, provenance=directory.provenance(cell.scenario, run.identity.trials),
            about={"seconds": round(time.monotonic() - begun, 3), "versions": directory.versions()},
        )  # fmt: skip


@dataclass(frozen=True)
class Truth:
    """True values of some estimands in one cell, to be found; estimands with their digests."""

    folder: str
    digest: str
    cell: str
    estimands: tuple[tuple[str, str], ...]

    @property
    def claim(self) -> Path:
        """File by which a process claims it."""
        return claim_file(Path(self.folder), self.cell, f"truth-{mark(dict(self.estimands))}")

    def is_stored(self) -> bool:
        """Whether they are stored by now."""
        return truth_file(Path(self.folder), self.cell, mark(dict(self.estimands))).is_file()

    def do(self) -> None:
        """Find and store them."""
        run, wanted = _opened(self.folder, self.digest), dict(self.estimands)
        cell = run.cell(self.cell)
        some = [e for e in cell.scenario.estimands if e.name in wanted]
        found = true_values(some, cell.scenario.mechanism, cell.scenario.run.seed, cell.key)
        write_truth(Path(self.folder), self.cell, run.identity.trials, wanted, found)


Task = Chunk | Truth


def perform(task: Task) -> str:
    """Do one task of a run, unless another process has done so or is about to."""
    if task.is_stored():
        return HELD
    with claimed(task.claim) as free:
        if not free:
            return CLAIMED
        task.do()
    return MADE


class _Opened:
    """A run as a worker holds it: its scenario, and the cells that it has worked on."""

    def __init__(self, folder: Path) -> None:
        record = directory.read_run(folder)
        for before, now in zip(record["plugins"], load_plugins([p["name"] for p in record["plugins"]]), strict=True):
            if before["sha256"] != now["sha256"]:
                raise RunError(f"--plugin {now['name']}: its source has changed since the run was begun")
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
