"""simtrial generate: simulated trials as data sets."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note
from simtrial.commands.options import PLUGINS, REPLICATE, SEED, SETS, ScenarioName, given, load_cells, records_of
from simtrial.errors import SimtrialError


@click.command()
@click.argument("scenario", type=ScenarioName())
@click.option("-n", "--replicates", type=REPLICATE, default=1, show_default=True, help="How many trials.")
@click.option("--replicate", type=REPLICATE, help="This replicate alone, exactly as a run draws it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the data sets.")
@click.option("--cell", metavar="FACTORS", help="Cell of a sweep, e.g. 'icc=0.05, number=12'; see simtrial show.")
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "dta"]), default="csv", show_default=True)
@click.option("--with-latent", is_flag=True, help="Add potential outcomes and other latent columns.")
@PLUGINS
@SEED
@SETS
def generate(
    scenario: str, replicates: int, replicate: int | None, output: Path, cell: str | None, form: str,
    with_latent: bool, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...],
) -> None:  # fmt: skip
    """Write simulated trials as data sets, with a codebook.

    The same command again writes the same files; a folder with other data files is refused.

    Example: simtrial generate partners -n 10 -o trials
    """
    from simtrial.files.write_trials import codebook, refuse_others, trial_frames, write_frame
    from simtrial.scenario.cells import file_stem
    from simtrial.scenario.named import named_cell

    if replicate and given("replicates"):
        raise SimtrialError("--replicate is one replicate and -n the first ones: give one of them")
    records_of(plugins)
    _, cells = load_cells(scenario, sets, None, seed)
    chosen = named_cell(cells, cell)
    first, last = (replicate, replicate) if replicate else (1, replicates)
    names = {n: v.label for n, v in chosen.scenario.variables.items()}
    stem = file_stem(cells, chosen)
    files = {number: f"{stem}-{number:06d}.{form}" for number in range(first, last + 1)}
    refuse_others(output, ["codebook.csv", *files.values()])
    for number, frame in trial_frames(chosen, first, last, with_latent, stem):
        write_frame(frame, output / files[number], names)
    count = len(files)
    write_frame(codebook(chosen.scenario.mechanism, with_latent), output / "codebook.csv", {})
    others = f" (--cell chooses another of {len(cells)})" if len(cells) > 1 else ""
    which = f" of cell '{chosen.label}'{others}" if chosen.factors else ""
    note(f"{count} data set{'s' if count > 1 else ''}{which} and codebook.csv in {output}")
