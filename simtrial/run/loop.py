"""A run: chunks of whole blocks, each simulated, analysed and stored; the only loop."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simtrial.errors import EnvironmentFailure, RunError, WorkerDiedError, in_words
from simtrial.estimands import TrueValue, own_values, true_values
from simtrial.estimators.contained import is_own
from simtrial.estimators.fitting import attempt, killed
from simtrial.generate import simulate
from simtrial.moments.shared import SharedMoments
from simtrial.plugins.load import load_plugins
from simtrial.run.engines import engine
from simtrial.scenario import Cell, Scenario, rebuild
from simtrial.scenario.schema import finite_targets, targets
from simtrial.seeding import stream
from simtrial.store import directory
from simtrial.store.cells import has_cells, write_cells
from simtrial.store.chunks import held_blocks, is_held, write_chunk
from simtrial.store.claims import claimed, is_claimed
from simtrial.store.data_checks import Checks, checks_of
from simtrial.store.estimate_rows import bind, rows
from simtrial.store.paths import claim_file
from simtrial.store.stock import Stock

POLL = 0.2
"""Seconds between looks at the chunks that other processes are making."""


@dataclass(frozen=True)
class Chunk:
    """Blocks ``first`` to ``last`` (both included) of one cell, to be stored in one file of a run directory.

    ``digest`` is that of the directory's scenario; ``without`` a method that is not tried, because it may be the one
    that ends its process: its fits count as failed.
    """

    folder: str
    digest: str
    cell: str
    first: int
    last: int
    without: str = ""

    @property
    def place(self) -> tuple[Path, str, int, int]:
        """Its place in the store."""
        return Path(self.folder), self.cell, self.first, self.last


@dataclass(frozen=True)
class Truth:
    """True values of one cell, to be found."""

    folder: str
    digest: str
    cell: str


@dataclass(frozen=True)
class Outcome:
    """Result of a run: chunks requested, blocks already stored, chunks computed now, and failed with their messages.

    ``left`` are chunks that nobody has made, because the time was up.
    """

    chunks: int
    found: int
    made: int
    failed: tuple[tuple[Chunk, str], ...]
    left: int = 0


def run(
    scenario: Scenario,
    cells: Sequence[Cell],
    folder: Path,
    *,
    engine_name: str = "serial",
    workers: int = 1,
    chunk_replicates: int = 1000,
    shard: tuple[int, int] = (1, 1),
    until: float | None = None,
    command: str = "",
    plugins: Sequence[Mapping[str, str]] = (),
    progress: Callable[[int, int, float], None] | None = None,
) -> Outcome:
    """Run every chunk that the directory does not hold yet; several processes may share the work on one directory.

    Parameters
    ----------
    scenario, cells
        What to run, from `simtrial.scenario.load`.
    folder
        The run directory: made, or extended when it belongs to the same scenario and seed.
    engine_name, workers, chunk_replicates
        How the work is spread; none of them changes a number.
    shard
        Which part of the chunks, and of how many, counted from 1: the parts share no block.
    until
        Time (of `time.monotonic`) from which on no chunk is begun.
    command, plugins
        Kept in run.json; plugins (from `simtrial.plugins.load.load_plugins`) are loaded again by worker processes.
    progress
        Called after every chunk with chunks done, chunks in all, and seconds since the start.

    Raises
    ------
    EnvironmentFailure
        When the disk refuses a chunk: no other is begun.
    """
    directory.open_run(folder, scenario, command, plugins)
    digest = directory.read_run(folder)["digest"]
    held = {cell.id: held_blocks(folder, cell.id, digest) for cell in cells}
    wanted = range(blocks_of(scenario))
    per_chunk = max(1, -(-chunk_replicates // scenario.run.block))
    shares = _shares(cells, wanted, per_chunk, shard)
    chunks = [
        c for cell in cells for c in missing(folder, digest, cell, wanted, held[cell.id], per_chunk)
        if (cell.id, c.first // per_chunk) in shares
    ]  # fmt: skip
    there = sum(len(blocks.intersection(wanted)) for blocks in held.values())
    sought = [] if has_cells(folder) else [Truth(str(folder), digest, cell.id) for cell in cells]
    tally, truths, claims = _Tally(len(chunks), progress), dict[str, list[TrueValue]](), list[Chunk]()
    own, suspects = [m.name for m in scenario.methods if is_own(m)], list[Chunk]()
    tasks: list[Truth | Chunk] = [*sought, *chunks]
    while tasks:
        with closing(engine(engine_name)(perform, _in_time(tasks, until), workers)) as results:
            for task, result in results:
                if isinstance(result, EnvironmentFailure):
                    raise result
                if isinstance(task, Chunk) and result == CLAIMED:
                    claims.append(task)
                elif isinstance(task, Chunk):
                    other = _without_next(task, own) if isinstance(result, WorkerDiedError) else None
                    if other is not None:
                        suspects.append(other)
                    else:
                        tally.enter(task, result)
                elif isinstance(result, BaseException):
                    raise result
                else:
                    truths[task.cell] = result
                    if len(truths) == len(cells):
                        origin = directory.provenance(scenario)
                        write_cells(folder, scenario, cells, truths, identity=digest, provenance=origin)
        tasks = [*suspects, *_freed(claims, tally, until)]
        suspects.clear()
    return Outcome(len(chunks), there, tally.made, tuple(tally.failed), len(chunks) - tally.done)


def _without_next(chunk: Chunk, own: Sequence[str]) -> Chunk | None:
    """The chunk without the next of the user's own methods, any of which may have ended its process; None after all."""
    at = own.index(chunk.without) + 1 if chunk.without else 0
    return replace(chunk, without=own[at]) if at < len(own) else None


class _Tally:
    """What became of chunks so far."""

    def __init__(self, chunks: int, progress: Callable[[int, int, float], None] | None) -> None:
        self.chunks, self.progress, self.begun = chunks, progress, time.monotonic()
        self.done = self.made = 0
        self.failed: list[tuple[Chunk, str]] = []

    def enter(self, chunk: Chunk, result: Any) -> None:
        """Count a chunk that was made, stored by another process, or failed with an exception."""
        self.done += 1
        self.made += result == MADE
        if isinstance(result, BaseException):
            self.failed.append((chunk, in_words(result)))
        if self.progress is not None:
            self.progress(self.done, self.chunks, time.monotonic() - self.begun)


def _freed(claims: list[Chunk], tally: _Tally, until: float | None) -> list[Chunk]:
    """Wait for chunks that other processes are making; return, and take from ``claims``, those they leave unmade."""
    while claims and _is_time(until):
        stored = [chunk for chunk in claims if is_held(*chunk.place)]
        free = [c for c in claims if c not in stored and not is_claimed(claim_file(*c.place))]
        claims[:] = [c for c in claims if c not in stored and c not in free]
        for chunk in stored:
            tally.enter(chunk, HELD)
        if free:
            return free
        if claims:
            time.sleep(POLL)
    return []


def _shares(cells: Sequence[Cell], wanted: range, per_chunk: int, shard: tuple[int, int]) -> set[tuple[str, int]]:
    """Cells and places of the chunks that belong to a shard, dealt out like cards over all cells."""
    every = [(cell.id, place) for cell in cells for place in range(-(-len(wanted) // per_chunk))]
    return set(every[shard[0] - 1 :: shard[1]])


def shards_of(cells: Sequence[Cell], stock: Stock, per_chunk: int, shards: int) -> list[int]:
    """Shards, counted from 1, of which a chunk is not stored."""
    wanted = range(stock.wanted)

    def is_whole(cell: str, place: int) -> bool:
        return set(wanted[place * per_chunk : (place + 1) * per_chunk]) <= stock.held[cell]

    parts = ((shard, _shares(cells, wanted, per_chunk, (shard, shards))) for shard in range(1, shards + 1))
    return [shard for shard, own in parts if not all(is_whole(*place) for place in own)]


def _is_time(until: float | None) -> bool:
    return until is None or time.monotonic() < until


def _in_time(tasks: Sequence[Truth | Chunk], until: float | None) -> Iterator[Truth | Chunk]:
    """Hand out tasks as long as there is time; true values in any case, for without them there is no table."""
    return (task for task in tasks if isinstance(task, Truth) or _is_time(until))


def perform(task: Truth | Chunk) -> Any:
    """Do one task of a run, in a worker process."""
    return make_chunk(task) if isinstance(task, Chunk) else find_truth(task)


def find_truth(task: Truth) -> list[TrueValue]:
    """Find the true values of a cell."""
    scenario, cells = _resolved(task.folder, task.digest)
    cell = cells[task.cell]
    return true_values(cell.scenario.estimands, cell.scenario.mechanism, scenario.run.seed, cell.key)


def blocks_of(scenario: Scenario) -> int:
    """Whole blocks that hold the replicates asked for."""
    return -(-scenario.run.replicates // scenario.run.block)


def missing(folder: Path, digest: str, cell: Cell, wanted: range, held: set[int], per_chunk: int) -> list[Chunk]:
    """Chunks of the blocks that no stored chunk of the cell covers; a chunk never spans two runs of ``per_chunk``.

    So that shards agree on them, whatever part of the run is there.
    """
    chunks: list[Chunk] = []
    for block in wanted:
        if block in held:
            continue
        if chunks and chunks[-1].last == block - 1 and block % per_chunk:
            chunks[-1] = replace(chunks[-1], last=block)
        else:
            chunks.append(Chunk(folder=str(folder), digest=digest, cell=cell.id, first=block, last=block))
    return chunks


MADE, HELD, CLAIMED = "made", "held", "claimed"
"""What became of a chunk: made here, stored by another process, or being made by one."""


def make_chunk(chunk: Chunk) -> str:
    """Simulate, analyse and store one chunk, unless another process has done so or is about to."""
    if is_held(*chunk.place):
        return HELD
    with claimed(claim_file(*chunk.place)) as free:
        if not free:
            return CLAIMED
        begun = time.monotonic()
        scenario, cells = _resolved(chunk.folder, chunk.digest)
        failures: list[dict[str, Any]] = []
        data: dict[str, Checks] = {}
        every = range(chunk.first, chunk.last + 1)
        own = [block_rows(cells[chunk.cell], block, failures, chunk.without, data) for block in every]
        write_chunk(
            *chunk.place, bind(own), failures=failures, identity=chunk.digest,
            provenance=directory.provenance(scenario),
            about={"seconds": round(time.monotonic() - begun, 3), "versions": directory.versions(), "data": data},
        )  # fmt: skip
    return MADE


@lru_cache(maxsize=4)
def _resolved(folder: str, digest: str) -> tuple[Scenario, dict[str, Cell]]:
    run = directory.read_run(Path(folder))
    for before, now in zip(run["plugins"], load_plugins([p["name"] for p in run["plugins"]]), strict=True):
        if before["sha256"] != now["sha256"]:
            raise RunError(f"--plugin {now['name']}: its source has changed since the run was begun")
    scenario, cells = rebuild(run["scenario"])
    return scenario, {cell.id: cell for cell in cells}


def block_rows(
    cell: Cell, block: int, failures: list[dict[str, Any]] | None = None, without: str = "",
    data: dict[str, Checks] | None = None,
) -> pl.DataFrame:  # fmt: skip
    """Rows of one block: every replicate by every method, once per estimand of the method.

    A method that is not to be tried, ``without``, has failed rows. Rows against a finite estimand carry the true value
    of their own trial, ``own_true_value``. Failures and checks of the data are entered into ``failures`` and ``data``.
    """
    scenario = cell.scenario
    size, seed = scenario.run.block, scenario.run.seed
    drawn = simulate(scenario.needed, size, seed, cell.key, block)
    own = own_values(finite_targets(scenario), scenario.mechanism, drawn, seed, cell.key, block)
    observed = drawn.observed()
    if data is not None:
        data[str(block)] = checks_of(observed)
    shared = SharedMoments(observed)
    replicate = np.arange(block * size + 1, (block + 1) * size + 1)
    frames = []
    for method in scenario.methods:
        rng = stream(seed, cell.key, block, f"method:{method.name}") if method.draws else None
        seeds = stream(seed, cell.key, block, f"global:{method.name}") if is_own(method) else None
        if method.name == without:
            estimates, error = killed(method, size)
        else:
            estimates, error = attempt(method, shared, rng, seconds=scenario.run.method_seconds, seeds=seeds)
        if error is not None and failures is not None:
            failures.append(_raised(error, cell.id, block, method.name))
        labels = {"cell": cell.id, "replicate": replicate, "method": method.name}
        names = targets(method, scenario) or [""]
        truths = [{"own_true_value": own[name]} if name in own else {} for name in names]
        frames += [rows(estimates, {**labels, "estimand": n, **t}) for n, t in zip(names, truths, strict=True)]
        if failures is not None:
            failures += _failed_rows(frames[-1])
    return bind(frames)


def _raised(error: BaseException, cell: str, block: int, method: str) -> dict[str, Any]:
    record = {"cell": cell, "block": block, "method": method, "error": in_words(error)}
    return {**record, "traceback": "".join(traceback.format_exception(error))}


def _failed_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    wanted = ["cell", "replicate", "method", "flags", "n_used", "clusters_used"]
    wanted += ["message"] if "message" in frame.columns else []
    return list(frame.filter(pl.col("status") == "failed").select(wanted).iter_rows(named=True))
