"""What commands do with run directories: fill, judge and summarise them; heavy packages are imported where used."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simtrial.errors import EnvironmentFailure, IncompleteRunError, SimtrialError

if TYPE_CHECKING:
    from simtrial.run.loop import Outcome
    from simtrial.scenario import Cell, Scenario


def fill(
    found: Scenario, cells: list[Cell], output: Path, engine_name: str, workers: int | None, chunk: int,
    plugins: list[dict[str, str]], shard: tuple[int, int] = (1, 1), seconds: float | None = None,
) -> Outcome:  # fmt: skip
    """Run missing chunks, showing progress; failed chunks end the program with exit 3."""
    until = None if seconds is None else time.monotonic() + seconds
    from simtrial.report.progress import Progress

    granted = workers or cores()
    work = -(-found.run.replicates // found.run.block) * len(cells)
    if engine_name == "auto":
        engine_name = "processes" if granted > 1 and (work > 8 or workers) else "serial"
    if engine_name == "processes":
        start_workers()
    if engine_name != "serial" and shard == (1, 1):  # enough chunks for every worker; shards must agree on them
        chunk = min(chunk, max(found.run.block, -(-found.run.replicates * len(cells) // (2 * granted))))
    from simtrial.run.implied_cuts import warnings
    from simtrial.run.loop import run as run_scenario  # heavy: imported while workers start

    for sentence in warnings(cells):
        click.echo(f"warning: {sentence}", err=True)

    with Progress() as progress:
        outcome = run_scenario(
            found, cells, output, engine_name=engine_name, workers=granted, chunk_replicates=chunk, shard=shard,
            until=until, command=" ".join(sys.argv), plugins=plugins, progress=progress,
        )  # fmt: skip
    labels = {cell.id: cell.label for cell in cells}
    for failed, message in outcome.failed:
        click.echo(
            f"chunk of cell '{labels[failed.cell]}', blocks {failed.first}-{failed.last} failed: {message}", err=True
        )
    if outcome.failed:
        failure = f"{len(outcome.failed)} of {outcome.chunks} chunks failed; run the same command to try again"
        raise IncompleteRunError(failure)
    return outcome


def is_complete(folder: Path, cells: list[Cell], replicates: int) -> bool:
    """Whether a directory holds all blocks of so many replicates, and the true values."""
    from simtrial.store.cells import has_cells
    from simtrial.store.directory import read_run
    from simtrial.store.stock import stock_of

    run = read_run(folder)
    return has_cells(folder) and not stock_of(folder, run, [cell.id for cell in cells], replicates).missing


def start_workers() -> None:
    """Let worker processes start while this one still reads the scenario."""
    from simtrial.run.engines.processes import start

    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    start()


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
    folder: Path, form: str, partial: bool, mcse: str | None = None, reference: str | None = None,
    common: bool = False, replicates: int | None = None,
) -> None:  # fmt: skip
    """Print the performance of a run or of its first ``replicates``, and store it if it is the scenario's own."""
    from dataclasses import replace

    import polars as pl

    from simtrial.files.whole import parquet_bytes, write_bytes
    from simtrial.performance.summary import options_of, summary
    from simtrial.report import tables
    from simtrial.store.paths import performance_file
    from simtrial.store.reading import SUMMARISED, read_run_by_cell

    parts, cells, run = read_run_by_cell(folder, partial, SUMMARISED, replicates)
    stated = options_of(run)
    methods = [m["name"] for m in run["scenario"]["methods"]]
    compared = reference_method(reference, methods) or stated.reference
    chosen = replace(stated, form=mcse or stated.form, reference=compared, common=common)  # type: ignore[arg-type]
    published: list[dict[str, Any]] = run["scenario"].get("published", [])
    labels = tables.cell_labels(cells)
    frames, beside, again = [], [], list[str]()
    for rows in parts:
        frames.append(summary(rows, cells, chosen))
        again += tables.replay_commands(rows, str(folder), labels)
        beside += tables.beside_published(rows, published, labels)
    frame = pl.concat(frames)
    if chosen == stated:
        try:
            write_bytes(performance_file(folder), parquet_bytes(frame, {}))
        except EnvironmentFailure as error:  # a disk that is full or read-only: the table is printed all the same
            click.echo(f"warning: {error}", err=True)
    tables.print_performance(frame, cells, form)
    if again and form == "table":
        tables.print_replays(again)
    if published and form == "table":
        tables.published_table(beside, labels)
