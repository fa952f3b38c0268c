"""A run: chunks of whole blocks, each simulated, analysed and stored; the only loop."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from simtrial.errors import in_words
from simtrial.estimands import TrueValue, own_values, true_values
from simtrial.estimators.fitting import attempt
from simtrial.generate import simulate
from simtrial.moments.shared import SharedMoments
from simtrial.plugins.load import load_plugins
from simtrial.run.engines import engine
from simtrial.scenario import Cell, Scenario, rebuild
from simtrial.scenario.schema import finite_targets, targets
from simtrial.seeding import stream
from simtrial.store import directory
from simtrial.store.cells import write_cells
from simtrial.store.chunks import covered, held_blocks, write_chunk, write_failures
from simtrial.store.estimate_rows import bind, rows
from simtrial.store.paths import cells_file, chunk_file, failures_file


@dataclass(frozen=True)
class Chunk:
    """Blocks ``first`` to ``last`` (both included) of one cell, to be stored in one file of a run directory.

    ``digest`` is that of the directory's scenario.
    """

    folder: str
    digest: str
    cell: str
    first: int
    last: int

    @property
    def file(self) -> Path:
        """Where its rows go."""
        return chunk_file(Path(self.folder), self.cell, self.first, self.last)


@dataclass(frozen=True)
class Truth:
    """True values of one cell, to be found."""

    folder: str
    digest: str
    cell: str


@dataclass(frozen=True)
class Outcome:
    """Result of a run: chunks requested, already stored, computed now, and failed with their messages."""

    chunks: int
    found: int
    made: int
    failed: tuple[tuple[Chunk, str], ...]


def run(
    scenario: Scenario,
    cells: Sequence[Cell],
    folder: Path,
    *,
    engine_name: str = "serial",
    workers: int = 1,
    chunk_replicates: int = 1000,
    command: str = "",
    plugins: Sequence[Mapping[str, str]] = (),
    progress: Callable[[int, int, float], None] | None = None,
) -> Outcome:
    """Run every chunk that the directory does not hold yet.

    Parameters
    ----------
    scenario, cells
        What to run, from `simtrial.scenario.load`.
    folder
        The run directory: made, or extended when it belongs to the same scenario and seed.
    engine_name, workers, chunk_replicates
        How the work is spread; none of them changes a number.
    command, plugins
        Kept in run.json; plugins (from `simtrial.plugins.load.load_plugins`) are loaded again by worker processes.
    progress
        Called after every chunk with chunks done, chunks in all, and seconds since the start.
    """
    directory.open_run(folder, scenario, command, plugins)
    digest = directory.read_run(folder)["digest"]
    sought = [] if cells_file(folder).is_file() else [Truth(str(folder), digest, cell.id) for cell in cells]
    per_chunk = max(1, -(-chunk_replicates // scenario.run.block))
    chunks = [c for cell in cells for c in missing(folder, digest, scenario, cell, per_chunk)]
    held = sum(covered(folder, cell.id, blocks_of(scenario)) for cell in cells)
    begun = time.monotonic()
    truths: dict[str, list[TrueValue]] = {}
    failed: list[tuple[Chunk, str]] = []
    done = 0
    for task, result in engine(engine_name)(perform, [*sought, *chunks], workers):
        if isinstance(task, Truth):
            if isinstance(result, BaseException):
                raise result
            truths[task.cell] = result
            if len(truths) == len(cells):
                write_cells(folder, scenario, cells, truths)
            continue
        done += 1
        if isinstance(result, BaseException):
            failed.append((task, in_words(result)))
        if progress is not None:
            progress(done, len(chunks), time.monotonic() - begun)
    return Outcome(len(chunks), held, len(chunks) - len(failed), tuple(failed))


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


def missing(folder: Path, digest: str, scenario: Scenario, cell: Cell, per_chunk: int) -> list[Chunk]:
    """Chunks of blocks that no stored chunk of the cell covers."""
    held = held_blocks(folder, cell.id)
    chunks: list[Chunk] = []
    for block in range(blocks_of(scenario)):
        if block in held:
            continue
        if chunks and chunks[-1].last == block - 1 and block - chunks[-1].first < per_chunk:
            chunks[-1] = Chunk(folder=str(folder), digest=digest, cell=cell.id, first=chunks[-1].first, last=block)
        else:
            chunks.append(Chunk(folder=str(folder), digest=digest, cell=cell.id, first=block, last=block))
    return chunks


def make_chunk(chunk: Chunk) -> int:
    """Simulate, analyse and store one chunk; return its rows."""
    begun = time.monotonic()
    scenario, cells = _resolved(chunk.folder, chunk.digest)
    cell = cells[chunk.cell]
    failures: list[dict[str, Any]] = []
    frame = bind([block_rows(cell, b, failures) for b in range(chunk.first, chunk.last + 1)])
    if failures:
        write_failures(failures_file(Path(chunk.folder), chunk.cell, chunk.first, chunk.last), failures)
    record = {"cell": chunk.cell, "first": chunk.first, "last": chunk.last,
              "seconds": round(time.monotonic() - begun, 3), "versions": directory.versions()}  # fmt: skip
    write_chunk(chunk.file, frame, record, {"simtrial": directory.provenance(scenario)})
    return frame.height


@lru_cache(maxsize=4)
def _resolved(folder: str, digest: str) -> tuple[Scenario, dict[str, Cell]]:
    run = directory.read_run(Path(folder))
    load_plugins([plugin["name"] for plugin in run["plugins"]])
    scenario, cells = rebuild(run["scenario"])
    return scenario, {cell.id: cell for cell in cells}


def block_rows(cell: Cell, block: int, failures: list[dict[str, Any]] | None = None) -> pl.DataFrame:
    """Rows of one block: every replicate by every method, once per estimand of the method.

    Rows against a finite estimand carry the true value of their own trial, ``own_true_value``.
    """
    scenario = cell.scenario
    size, seed = scenario.run.block, scenario.run.seed
    drawn = simulate(scenario.needed, size, seed, cell.key, block)
    own = own_values(finite_targets(scenario), scenario.mechanism, drawn, seed, cell.key, block)
    shared = SharedMoments(drawn.observed())
    replicate = np.arange(block * size + 1, (block + 1) * size + 1)
    frames = []
    for method in scenario.methods:
        rng = stream(seed, cell.key, block, f"method:{method.name}") if method.draws else None
        estimates, error = attempt(method, shared, rng)
        if error is not None and failures is not None:
            failures.append(_raised(error, cell.id, block, method.name))
        labels = {"cell": cell.id, "replicate": replicate, "method": method.name}
        names = targets(method, scenario) or [""]
        truths = [{"own_true_value": own[name]} if name in own else {} for name in names]
        frames += [rows(estimates, {**labels, "estimand": n, **t}) for n, t in zip(names, truths, strict=True)]
        if failures is not None:
            failures += _failed_rows(frames[-1])
    return bind(frames)


def _raised(error: Exception, cell: str, block: int, method: str) -> dict[str, Any]:
    record = {"cell": cell, "block": block, "method": method, "error": in_words(error)}
    return {**record, "traceback": "".join(traceback.format_exception(error))}


def _failed_rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    wanted = ["cell", "replicate", "method", "flags", "n_used", "clusters_used"]
    wanted += ["message"] if "message" in frame.columns else []
    return list(frame.filter(pl.col("status") == "failed").select(wanted).iter_rows(named=True))
