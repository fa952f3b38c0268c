"""simtrial run: a scenario into a run directory."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import run_directories
from simtrial.commands.notes import note
from simtrial.commands.options import (
    CORE,
    FORMAT,
    PLUGINS,
    SEED,
    SETS,
    Duration,
    ScenarioName,
    Shard,
    load_cells,
    precision_of,
    records_of,
)
from simtrial.commands.since_start import begun
from simtrial.errors import SimtrialError
from simtrial.run.engines import engine_names


@click.command()
@click.argument("scenario", type=ScenarioName())
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run directory.")
@click.option("--replicates", type=click.IntRange(min=1), help="Replicates per cell; default: the scenario's.")
@click.option("--engine", "engine_name", type=click.Choice(["auto", *engine_names()]), default="auto",
              show_default=True, help="auto: processes if the run is large enough.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), help="Workers; default: the available cores.")
@click.option(
    "--chunk", type=click.IntRange(min=1), default=1000, show_default=True, help="Replicates per stored file."
)
@click.option("--shard", type=Shard(), default="1/1", metavar="I/N",
              help="Only part I of N of the work, counted from 1: for job arrays.")  # fmt: skip
@click.option("--max-time", "seconds", type=Duration(), metavar="TIME",
              help="Begin no more work after the program has run this long (90s, 30m, 2h).")  # fmt: skip
@click.option("--until", metavar="MEASURE=MCSE,...",
              help="End a cell at these Monte Carlo errors, or with --replicates at the latest.")  # fmt: skip
@click.option("--scheduler", metavar="ADDRESS",
              help="Work on the dask cluster of this scheduler, e.g. tcp://node1:8786.")  # fmt: skip
@click.option("--scheduler-file", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
              help="The same, with the file that the scheduler wrote.")  # fmt: skip
@PLUGINS
@SEED
@SETS
@CORE
@FORMAT
def run(
    scenario: str, output: Path, replicates: int | None, engine_name: str, workers: int | None, chunk: int,
    shard: tuple[int, int], seconds: float | None, until: str | None, scheduler: str | None,
    scheduler_file: Path | None, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Run a scenario into a directory and print its performance; the same command resumes an interrupted run.

    Several processes may work on one directory: they share what is to be done. More replicates, methods, estimands or
    levels of factors extend a directory: only what is new is computed.

    Example: simtrial run partners -o runs/partners --replicates 1000 --workers 2
    """
    deadline = None if seconds is None else begun() + seconds
    if until is not None and shard != (1, 1):
        raise SimtrialError("--until: where a cell ends depends on all its rows; leave out --shard")
    engine = run_directories.engine_for(engine_name, scheduler, scheduler_file, output, workers)
    if engine == "processes" or (engine == "auto" and (workers or 1) > 1):
        run_directories.start_workers()
    records = records_of(plugins)
    found, cells = load_cells(scenario, sets, replicates, seed)
    outcome = run_directories.fill(
        found, cells, output, engine, workers, chunk, records, shard, deadline, precision_of(until)
    )
    from simtrial.store.stock import is_complete  # heavy: by now it is imported

    if not outcome.chunks:
        note("nothing to run: every chunk asked for is there")
    for sentence in run_directories.more_than(output, outcome.request):
        note(sentence)
    if outcome.left:
        left = f"{outcome.left} of {outcome.chunks} chunks are left"
        note(f"time is up: {left}; run the same command to go on")
        return
    if shard != (1, 1) and not is_complete(output, outcome.request):
        note(f"shard {shard[0]}/{shard[1]} is complete; simtrial status {output} shows the whole run")
        return
    run_directories.summarise([output], form, request=outcome.request)
