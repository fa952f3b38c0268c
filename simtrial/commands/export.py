"""simtrial export: the results of a run for R, Stata and spreadsheets."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note, warn
from simtrial.errors import SimtrialError, unknown


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["rsimsum", "siman", "csv", "dta", "parquet"]), default="csv",
              show_default=True, help="rsimsum: CSV and an R script; siman: .dta and a do-file.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the files.")
@click.option("--cell", "cells", multiple=True, metavar="FACTORS",
              help="Only this cell, e.g. 'icc=0.05, number=12', or all with icc=0.05; repeat for more.")  # fmt: skip
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="Only this method; repeat for more.")
@click.option("--partial", is_flag=True, help="Export the finished part of a run.")
def export(run: Path, form: str, output: Path, cells: tuple[str, ...], methods: tuple[str, ...], partial: bool) -> None:
    """Write the results of a run, one row per replicate, method and estimand, for other programs.

    The columns are those that rsimsum and siman take. Beside the data: a codebook, and scripts that summarise them.
    `simtrial summarise` reads the files back with the same numbers.

    Example: simtrial export runs/a --format rsimsum -o runs/a-for-r
    """
    import polars as pl

    from simtrial.commands.named import named_cells
    from simtrial.files.exports.results import exported
    from simtrial.files.exports.write import write_results
    from simtrial.files.write_trials import refuse_file, refuse_others
    from simtrial.store.reading import SUMMARISED, read_run_by_cell

    refuse_file(output)
    refuse_others(output, ["codebook.csv", "results.csv", "results.dta", "results.parquet", "rsimsum.csv"])
    wanted = [*SUMMARISED, "df", "n_used", "clusters_used"]
    parts, known, about = read_run_by_cell([run], partial, wanted)
    for name in methods:
        if name not in about["methods"]:
            raise SimtrialError(f"--method: {unknown('method', name, list(about['methods']))}")
    chosen = named_cells(known, cells) if cells else known["cell"].unique(maintain_order=True).to_list()
    some = (part for part in parts if part.height and part["cell"][0] in chosen)
    if methods:
        some = (part.filter(pl.col("method").is_in(list(methods))) for part in some)
    scenario = about["scenario"]
    title = str(scenario.get("title") or scenario.get("name") or "")
    found = exported(some, known.filter(pl.col("cell").is_in(chosen)), title)
    files = write_results(found, output, form, {"simtrial": title})
    if found.odd_sets and form != "parquet":
        warn(f"{found.odd_sets:,} rows have a confidence set that is not between its limits (column ci_type); R and "
             "Stata take it for an interval")  # fmt: skip
    note(f"{found.frame.height:,} rows: {', '.join(file.name for file in files)} in {output}")
