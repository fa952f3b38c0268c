"""simtrial run: a scenario into a run directory."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import run_directories
from simtrial.commands.options import FORMAT, PLUGINS, SEED, SETS, load_cells, records_of
from simtrial.run.engines import engine_names


@click.command()
@click.argument("scenario")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Run directory.")
@click.option("--replicates", type=click.IntRange(min=1), help="Replicates per cell; default: the scenario's.")
@click.option("--engine", "engine_name", type=click.Choice(["auto", *engine_names()]), default="auto",
              show_default=True, help="auto: processes if the run is large enough.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), help="Workers; default: the available cores.")
@click.option(
    "--chunk", type=click.IntRange(min=1), default=1000, show_default=True, help="Replicates per stored file."
)
@PLUGINS
@SEED
@SETS
@FORMAT
def run(
    scenario: str, output: Path, replicates: int | None, engine_name: str, workers: int | None, chunk: int,
    plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Run a scenario into a directory and print its performance; the same command resumes an interrupted run.

    Example: simtrial run partners -o runs/partners --replicates 1000 --workers 2
    """
    if engine_name == "processes" or (engine_name == "auto" and (workers or 1) > 1):
        run_directories.start_workers()
    records = records_of(plugins)
    found, cells = load_cells(scenario, sets, replicates, seed)
    outcome = run_directories.fill(found, cells, output, engine_name, workers, chunk, records)
    from simtrial.store.directory import read_run

    if not outcome.chunks:
        click.echo("nothing to run: every chunk asked for is there", err=True)
    held = read_run(output)["replicates"]
    if held > found.run.replicates:
        click.echo(f"the directory holds {held} replicates per cell; all of them are summarised", err=True)
    run_directories.summarise(output, form, partial=False)
