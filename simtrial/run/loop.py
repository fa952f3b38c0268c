"""A run: what is missing of it is spread over workers, chunk by chunk; the only loop."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from simtrial.core import using
from simtrial.errors import EnvironmentFailure, WorkerDiedError, in_words
from simtrial.estimators.contained import is_own
from simtrial.interruption import raise_what_is_noted
from simtrial.run.engines import Engine, engine
from simtrial.run.plan import Plan
from simtrial.run.standing import Made, Progress, Standing
from simtrial.run.tasks import CLAIMED, HELD, Chunk, Task, Truth, perform
from simtrial.scenario import Cell, Scenario
from simtrial.store import directory
from simtrial.store.cells import has_cells, write_cells
from simtrial.store.claims import is_claimed
from simtrial.store.identity import Identity
from simtrial.store.truths import read_truths, truth_files

POLL = 0.2
"""Seconds between looks at the chunks that other processes are making."""


@dataclass(frozen=True)
class Outcome:
    """Result of a run: chunks requested, blocks already stored, chunks computed now, and failed with their messages.

    ``left`` are chunks that nobody has made, because the time was up. ``request`` is what run.json would be if it were
    for this request alone.
    """

    chunks: int
    found: int
    made: int
    failed: tuple[tuple[Chunk, str], ...]
    left: int = 0
    request: Mapping[str, Any] = field(default_factory=dict)


def run(
    scenario: Scenario,
    cells: Sequence[Cell],
    folder: Path,
    *,
    engine_name: str | Engine = "serial",
    workers: int = 1,
    chunk_replicates: int = 1000,
    shard: tuple[int, int] = (1, 1),
    deadline: float | None = None,
    until: Mapping[str, float] | None = None,
    command: str = "",
    plugins: Sequence[Mapping[str, str]] = (),
    progress: Progress | None = None,
) -> Outcome:
    """Run every chunk that the directory does not hold yet; several processes may share the work on one directory.

    Parameters
    ----------
    scenario, cells
        What to run, from `simtrial.scenario.load`.
    folder
        The run directory: made, or extended when it draws the same trials.
    engine_name, workers, chunk_replicates
        How the work is spread; none of them changes a number.
    shard
        Which part of the chunks, and of how many, counted from 1: the parts share no block.
    deadline
        Time (of `time.monotonic`) from which on no chunk is begun.
    until
        Monte Carlo standard errors by measure: a cell ends when all its methods have them, or with the scenario's
        number of replicates.
    command, plugins
        Kept in run.json; plugins (from `simtrial.plugins.load.load_plugins`) are loaded again by worker processes.
    progress
        Called after every chunk, see `Progress`.

    Raises
    ------
    EnvironmentFailure
        When the disk refuses a chunk: no other is begun.
    """
    request = directory.open_run(folder, scenario, cells, command, plugins, until)
    per_chunk = max(1, -(-chunk_replicates // scenario.run.block))
    with using(directory.core_for(request, folder)):
        plan = Plan(folder, request, per_chunk, shard)
        own = [m.name for m in scenario.methods if is_own(m)]
        workforce = _Workforce(engine_name, workers, deadline, own, _Tally(scenario.run.block, progress))
        finite = [e.name for e in scenario.estimands if e.finite]
        truths = plan.truths()
        goals = plan.first_goals()
        there = plan.stored(goals)
        while True:
            workforce.do(truths, plan.chunks(goals), lambda: _enter_cells(folder, scenario, plan.identity, finite))
            truths = []
            further = {} if workforce.tally.is_behind() else plan.further(goals)
            if not further:
                break
            goals |= further
    tally = workforce.tally
    return Outcome(
        chunks=tally.chunks, found=there, made=tally.made, failed=tuple(tally.failed), left=tally.chunks - tally.done,
        request=request,
    )  # fmt: skip


class _Workforce:
    """Workers, and what is done with their results."""

    def __init__(
        self, engine_name: str | Engine, workers: int, deadline: float | None, own: Sequence[str], tally: _Tally
    ) -> None:
        self._engine, self._workers, self._deadline = engine(engine_name), workers, deadline
        self._own, self.tally = own, tally

    def do(self, truths: Sequence[Truth], chunks: Sequence[Chunk], once_known: Callable[[], None]) -> None:
        """Do all tasks; ``once_known`` is called when no true value is missing any more."""
        self.tally.expect(chunks)
        claims, suspects, unknown = list[Task](), list[Chunk](), set(truths)
        if not unknown:
            once_known()
        tasks: list[Task] = [*truths, *chunks]
        while tasks:
            with closing(self._engine(perform, self._in_time(tasks), self._workers)) as results:
                for task, result in results:
                    if isinstance(result, EnvironmentFailure):
                        raise result
                    if result == CLAIMED:
                        claims.append(task)
                    elif isinstance(task, Chunk):
                        other = _without_next(task, self._own) if isinstance(result, WorkerDiedError) else None
                        if other is not None:
                            suspects.append(other)
                        else:
                            self.tally.enter(task, result)
                    elif isinstance(result, BaseException):
                        raise result
                    else:
                        self._known(task, unknown, once_known)
            tasks = [*suspects, *self._freed(claims, unknown, once_known)]
            suspects.clear()

    def _known(self, task: Truth, unknown: set[Truth], once_known: Callable[[], None]) -> None:
        unknown.discard(task)
        if not unknown:
            once_known()

    def _freed(self, claims: list[Task], unknown: set[Truth], once_known: Callable[[], None]) -> list[Task]:
        """Wait for what other processes are making; return, and take from ``claims``, what they leave unmade."""
        while claims and (self._is_time() or unknown):
            stored = [task for task in claims if task.is_stored()]
            free = [task for task in claims if task not in stored and not is_claimed(task.claim)]
            claims[:] = [task for task in claims if task not in stored and task not in free]
            for task in stored:
                if isinstance(task, Chunk):
                    self.tally.enter(task, HELD)
                else:
                    self._known(task, unknown, once_known)
            if free:
                return free
            if claims:
                time.sleep(POLL)
        return []

    def _is_time(self) -> bool:
        return self._deadline is None or time.monotonic() < self._deadline

    def _in_time(self, tasks: Iterable[Task]) -> Iterator[Task]:
        """Hand out tasks as long as there is time; true values in any case, for without them there is no table."""
        for task in tasks:
            raise_what_is_noted()
            if isinstance(task, Truth) or self._is_time():
                yield task


def _enter_cells(folder: Path, scenario: Scenario, identity: Identity, own: Sequence[str]) -> None:
    """Write the table of cells, unless a process that shares the run has written one that says as much."""
    if has_cells(folder, identity):
        return
    files, names = truth_files(folder), [e.name for e in scenario.estimands]
    known = {cell: read_truths(folder, identity, files.get(cell, []), cell) for cell in identity.cells}
    truths = {cell: [found[name] for name in names] for cell, found in known.items()}
    unanalysed = {name: table for name, table in scenario.raw.items() if name != "methods"}  # they change no true value
    origin = directory.provenance(replace(scenario, raw=unanalysed), identity.trials)
    write_cells(folder, truths, own, identity=identity, provenance=origin)


def _without_next(chunk: Chunk, own: Sequence[str]) -> Chunk | None:
    """The chunk without the next of the user's own methods, any of which may have ended its process; None after all."""
    mine = [name for name in own if any(name == method for method, _ in chunk.parts)]
    at = mine.index(chunk.without) + 1 if chunk.without else 0
    return replace(chunk, without=mine[at]) if at < len(mine) else None


class _Tally:
    """What became of chunks so far."""

    def __init__(self, block: int, progress: Progress | None) -> None:
        self.block, self.progress, self.begun = block, progress, time.monotonic()
        self.chunks = self.done = self.made = 0
        self.wanted = self.done_replicates = self.made_replicates = self.failed_fits = 0
        self.failed: list[tuple[Chunk, str]] = []

    def expect(self, chunks: Sequence[Chunk]) -> None:
        """Count chunks that are to be made."""
        self.chunks += len(chunks)
        self.wanted += self.block * sum(chunk.blocks for chunk in chunks)

    def enter(self, chunk: Chunk, result: Any) -> None:
        """Count a chunk that was made, stored by another process, or failed with an exception."""
        self.done += 1
        replicates = self.block * chunk.blocks
        self.done_replicates += replicates
        if isinstance(result, Made):
            self.made += 1
            self.made_replicates += replicates
            self.failed_fits += result.failed
        if isinstance(result, BaseException):
            self.failed.append((chunk, in_words(result)))
        if self.progress is not None:
            stand = Standing(self.done_replicates, self.wanted, self.made_replicates, self.failed_fits)
            self.progress(self.done, self.chunks, time.monotonic() - self.begun, stand)

    def is_behind(self) -> bool:
        """Whether chunks have failed or were not begun in time."""
        return bool(self.failed) or self.done < self.chunks
