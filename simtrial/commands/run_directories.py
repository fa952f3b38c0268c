"""What commands do with run directories: fill, judge and summarise them; heavy packages are imported where used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from simtrial.commands.notes import note, warn
from simtrial.errors import EnvironmentFailure, IncompleteRunError, SimtrialError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import polars as pl

    from simtrial.commands.selection import Selection
    from simtrial.performance import Options
    from simtrial.run.engines import Engine
    from simtrial.run.loop import Outcome
    from simtrial.scenario import Cell, Scenario
    from simtrial.store.several import Reading


def fill(
    found: Scenario, cells: list[Cell], output: Path, engine_name: str | Engine, workers: int | None, chunk: int,
    plugins: list[dict[str, str]], shard: tuple[int, int] = (1, 1), deadline: float | None = None,
    until: Mapping[str, float] | None = None,
) -> Outcome:  # fmt: skip
    """Run missing chunks, showing progress; failed chunks end the program with exit 3.

    ``deadline`` is on the clock of `time.monotonic`.
    """
    from simtrial.report.progress import Progress

    granted = workers or cores()
    work = -(-found.run.replicates // found.run.block) * len(cells)
    if engine_name == "auto":
        engine_name = "processes" if granted > 1 and (work > 8 or workers) else "serial"
    if engine_name == "processes":
        start_workers()
    from simtrial.run.implied_cuts import warnings
    from simtrial.run.kept_memory import keep_freed_memory
    from simtrial.run.loop import run as run_scenario  # heavy: imported while workers start
    from simtrial.run.memory import refuse_too_large
    from simtrial.run.plan import enough_chunks
    from simtrial.scenario.without_effect import without_effect

    if engine_name != "serial" and shard == (1, 1):  # shards must agree on their chunks
        chunk = enough_chunks(found, len(cells), granted, chunk)
    if isinstance(engine_name, str):  # the memory of a cluster elsewhere is not known here
        refuse_too_large(cells, granted if engine_name != "serial" else 1)
    for sentence in (*without_effect(found, cells), *warnings(cells)):
        warn(sentence)

    keep_freed_memory()
    with Progress() as progress:
        outcome = run_scenario(
            found, cells, output, engine_name=engine_name, workers=granted, chunk_replicates=chunk, shard=shard,
            deadline=deadline, until=until, command=command_line(), plugins=plugins, progress=progress,
        )  # fmt: skip
    labels = {cell.id: cell.label for cell in cells}
    for failed, message in outcome.failed:
        at = failed.place
        note(f"chunk of cell '{labels[at.cell]}', blocks {at.first}-{at.last} failed: {message}")
    if outcome.failed:
        failure = f"{len(outcome.failed)} of {outcome.chunks} chunks failed; run the same command to try again"
        raise IncompleteRunError(failure)
    return outcome


def more_than(folder: Path, request: Mapping[str, Any]) -> list[str]:
    """What a directory holds beyond a request, in sentences: the table is of the request alone; and another core."""
    from simtrial.core import version
    from simtrial.store.directory import core_for, read_run

    stored, found = read_run(folder), list[str]()
    if stored["replicates"] > (asked := request["replicates"]):
        found.append(
            f"{folder} holds {stored['replicates']:,} replicates per cell: the table is of the first {asked:,}"
        )
    begun = stored["versions"].get("core", "numpy")
    if (goes_on := core_for(request, folder)) is not None and version(goes_on) != begun:
        found.append(f"{folder} was begun with core {begun} and goes on with {goes_on}: rows agree but for rounding")
    for kind in ("cells", "methods"):
        more = len(stored[kind].keys() - request[kind].keys())
        if more:
            here = len(request[kind])
            found.append(f"{folder} holds {here + more:,} {kind}: the table is of the {here:,} asked for")
    return found


def command_line() -> str:
    """The command as it was typed: the program by its name, wherever it is installed."""
    return " ".join(["simtrial", *map(quote, sys.argv[1:])])


def start_workers() -> None:
    """Let worker processes start while this one still reads the scenario."""
    from simtrial.run.engines.processes import start

    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    start()


def engine_for(
    engine_name: str, scheduler: str | None, scheduler_file: Path | None, output: Path, workers: int | None
) -> str | Engine:
    """Return the engine of these options: one by its name, or dask on the scheduler that they name."""
    stated = (("--scheduler", scheduler), ("--scheduler-file", scheduler_file))
    named = [option for option, value in stated if value is not None]
    if len(named) > 1:
        raise SimtrialError("--scheduler and --scheduler-file name one scheduler each; give one of them")
    if named and engine_name not in ("auto", "dask"):
        raise SimtrialError(f"{named[0]} goes with --engine dask, not {engine_name}")
    if not named and engine_name != "dask":
        return engine_name
    from simtrial.run.dask_cluster import address_in, checked_address, installed
    from simtrial.run.engines.dask import Joined

    installed()
    if scheduler_file is not None:
        return Joined(address_in(scheduler_file), output, workers)
    if scheduler is not None:
        return Joined(checked_address(scheduler, f"--scheduler {scheduler}"), output, workers)
    return engine_name


def cores() -> int:
    """Cores granted by SLURM or the operating system."""
    granted = os.environ.get("SLURM_CPUS_PER_TASK", "")
    if granted.isdigit() and int(granted) > 0:
        return int(granted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reference_method(name: str | None, methods: list[str]) -> str | None:
    """Return the name of a reference method, or refuse it."""
    from simtrial.errors import unknown

    if name is not None and name not in methods:
        raise SimtrialError(f"--reference: {unknown('method', name, methods)}")
    return name


def summarise(
    folders: Sequence[Path], form: str, partial: bool = False, mcse: str | None = None, common: bool = False,
    request: Mapping[str, Any] | None = None, chosen: Selection | None = None,
) -> None:  # fmt: skip
    """Print the performance of runs, or of the part of one that a request is for; store that of a whole single run."""
    import polars as pl

    from simtrial.commands.selection import Selection
    from simtrial.performance.summary import options_of
    from simtrial.report import tables
    from simtrial.report.performance import print_performance
    from simtrial.run.kept_memory import keep_freed_memory
    from simtrial.store.directory import read_run
    from simtrial.store.reading import SUMMARISED, stored_cells
    from simtrial.store.several import Reading, read_several

    chosen = chosen or Selection()
    chosen.check(form)
    keep_freed_memory()
    if request is None:
        runs = read_several(folders, partial, SUMMARISED)
    else:
        parts, own, run = stored_cells(folders, partial, SUMMARISED, request)
        runs = [Reading(folders=folders, parts=parts, cells=own, own_cells=own, run=run)]
    cells = pl.concat([one.cells for one in runs], how="diagonal")
    labels, wanted = tables.cell_labels(cells), chosen.cells_of(cells)
    frames, beside, again = [], [], list[str]()
    for one in runs:
        _tell_missing(one, labels, wanted)
        stated = options_of(one.run)
        options = _options(one.run, stated, mcse, common, chosen)
        measured, replays, lines = _performance(one, options, chosen, wanted, labels)
        frames += measured
        again += replays
        beside += lines
        if len(folders) == 1 and options == stated and chosen.everything and request in (None, read_run(folders[0])):
            _keep(folders[0], pl.concat(measured))
    if not frames:
        raise IncompleteRunError(f"{folders[0]}: no block of the cells that --cell names is finished yet")
    print_performance(chosen.of(pl.concat(frames), form), cells, form, shown=chosen.shown(common))
    if form != "table":
        return
    for one in runs:
        if one.run.get("until"):
            tables.adaptive_note(one.run["until"])
    if again:
        tables.print_replays(again)
    if beside and chosen.everything and not chosen.across:
        tables.published_table(beside, labels)


def _tell_missing(one: Reading, labels: Mapping[str, str], wanted: Collection[str]) -> None:
    """Say what a table of a run that is not finished leaves out of the cells that are wanted."""
    from simtrial.report.tables import FEW

    there = {part.cell: part for part in one.parts}
    short = []
    for cell in (cell for cell in dict.fromkeys(one.cells["cell"]) if cell in wanted):
        part = there.get(cell)
        if part is None or part.missing:
            blocks = "all" if part is None else f"{part.missing} of {len(part.holders)}"
            short.append(f"{labels[cell] or cell}: {blocks}")
    if short:
        more = f"; and {len(short) - FEW} more cells" if len(short) > FEW else ""
        note(f"{one.folders[0]}: incomplete, blocks that are missing: {'; '.join(short[:FEW])}{more}")


def _options(run: Mapping[str, Any], stated: Options, mcse: str | None, common: bool, chosen: Selection) -> Options:
    """Measures of a run: those that its scenario states, changed by what the command line chooses."""
    from dataclasses import replace

    compared = reference_method(chosen.reference, list(run["methods"])) or stated.reference
    measures, form = chosen.measures_or(stated.measures, compared), mcse or stated.form
    return replace(stated, form=form, reference=compared, common=common, measures=measures)  # type: ignore[arg-type]


def _performance(
    one: Reading, options: Options, chosen: Selection, wanted: Collection[str], labels: Mapping[str, str]
) -> tuple[list[pl.DataFrame], list[str], list[list[str]]]:
    """Performance of a run's wanted cells, commands for its failed fits, and published results beside it."""
    import polars as pl

    from simtrial.performance.rows import rows_of
    from simtrial.performance.summary import summary
    from simtrial.report import tables

    own = dict(zip(one.cells["cell"], one.own_cells["cell"], strict=True))
    its = tables.cell_labels(one.own_cells)
    its_labels = {cell: its[name] for cell, name in own.items()}
    published: list[dict[str, Any]] = one.run["scenario"].get("published", [])
    frames, again, beside = list[pl.DataFrame](), list[str](), list[list[str]]()
    for part in (part for part in one.parts if part.cell in wanted):
        rows = rows_of(part)
        frames.append(summary(rows, one.cells, options))
        if len(one.folders) == 1:
            again += tables.replay_commands(rows, str(one.folders[0]), its_labels, chosen.methods)
        beside += tables.beside_published(rows, published, labels)
    return frames, again, beside


def _keep(folder: Path, frame: pl.DataFrame) -> None:
    """Store a summary in its run directory, if the disk takes it."""
    from simtrial.files.whole import parquet_bytes, write_bytes
    from simtrial.store.paths import performance_file

    try:
        write_bytes(performance_file(folder), parquet_bytes(frame, {}))
    except EnvironmentFailure as error:  # a disk that is full or read-only: the table is printed all the same
        warn(str(error))
