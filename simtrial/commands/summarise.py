"""simtrial summarise: the performance of a run, or of results made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import run_directories
from simtrial.commands.notes import note
from simtrial.commands.options import given, names_in, of_file, pair_of
from simtrial.commands.selection import Selection
from simtrial.errors import SimtrialError


@click.command()
@click.argument("runs", metavar="RUN...|FILE", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Summarise the finished part of a run.")
@click.option(
    "--mcse", type=click.Choice(["robust", "jackknife", "normal"]), help="Form of Monte Carlo standard errors."
)
@click.option("--reference", metavar="METHOD", help="Compare the others with this method, trial by trial.")
@click.option("--common", is_flag=True, help="Only replicates in which every method has an estimate.")
@click.option("--measure", "measures", multiple=True, metavar="MEASURE", help="Only this measure; repeat for more.")
@click.option("--method", "methods", multiple=True, metavar="METHOD", help="Only this method; repeat for more.")
@click.option("--cell", "cells", multiple=True, metavar="FACTORS",
              help="Only this cell, e.g. 'icc=0.05, number=12', or all with icc=0.05; repeat for more.")  # fmt: skip
@click.option("--across", metavar="FACTOR", help="One table for each measure, the levels of a factor side by side.")
@click.option(
    "--caption", default="", metavar="TEXT", help="Title of the table of measures, in place of the usual one."
)
@of_file
@click.option("--format", "form", type=click.Choice(["table", "csv", "json", "markdown", "latex"]), default="table",
              show_default=True, help="Output; csv and json hold every measure, one a line.")  # fmt: skip
def summarise(
    runs: tuple[Path, ...], partial: bool, mcse: str | None, reference: str | None, common: bool,
    measures: tuple[str, ...], methods: tuple[str, ...], cells: tuple[str, ...], across: str | None, caption: str,
    true: str | None, by: tuple[str, ...], maps: tuple[str, ...], df: float | None, level: float, form: str,
) -> None:  # fmt: skip
    """Print the performance of runs, or of a FILE of results from other programs (CSV, Parquet, .dta).

    Several run directories of the same trials are read as one run: other replicates, methods or cells of it. Those of
    other trials are printed side by side.

    A file has one row per replicate and method (rsimsum's, siman's or our column names are known), or one per replicate
    with columns such as b_1, se_b_1 (simsum) or est1, se1 (siman).

    Example: simtrial summarise runs/a --measure coverage --across icc --format latex
    """
    chosen = Selection(
        cells=cells, methods=methods, measures=names_in(measures), across=across or "", reference=reference,
        caption=caption,
    )  # fmt: skip
    if len(runs) > 1 or runs[0].is_dir() or not runs[0].suffix:
        if others := given("true", "by", "maps", "df", "level"):
            hint = "; --across puts a factor across columns" if others[0] == "--by" else ""
            raise SimtrialError(f"{runs[0]}: {others[0]} is for a FILE of results; a run has its own{hint}")
        run_directories.summarise(runs, form, partial, mcse, common, chosen=chosen)
        return
    chosen.check(form)
    _file(runs[0], [pair_of(text, "--map") for text in maps], by, true, df, level, mcse, common, form, chosen)


def _file(
    file: Path, renamed: list[tuple[str, str]], by: tuple[str, ...], true: str | None, df: float | None, level: float,
    mcse: str | None, common: bool, form: str, chosen: Selection,
) -> None:  # fmt: skip
    """Print the performance of a file of results."""
    import polars as pl

    from simtrial.files.read_results import Reading, pairs, results
    from simtrial.performance import Options, performance
    from simtrial.report.performance import print_performance

    for name, _ in renamed:
        if [ours for ours, _ in renamed].count(name) > 1:
            raise SimtrialError(f"--map {name}=...: given twice")
    found = results(file, Reading(dict(renamed), by, true, df, level))
    rows, reference = found.rows, chosen.reference
    methods = rows["method"].unique(maintain_order=True).to_list()
    run_directories.reference_method(reference, methods)
    measures = chosen.measures_or((), reference)
    wanted = chosen.cells_of(found.cells)
    if reference is not None or common:
        pairs(found, file, reference)
    for text in (found.columns, *found.notes):
        note(text)
    if not (found.cells["true_value"].is_not_null() | found.cells["own"]).any():
        note(f"{file.name}: no true value is known; --true VALUE or --true COLUMN gives bias and coverage")
    alphas = dict.fromkeys(methods, 1 - level)
    options = Options(measures, mcse or "robust", reference, alphas, common)  # type: ignore[arg-type]
    truths = found.cells.filter(pl.col("true_value").is_not_null() | pl.col("own"))
    frame = performance(rows.filter(pl.col("cell").is_in(list(wanted))), truths, options)
    print_performance(chosen.of(frame, form), found.cells, form, stored=False, shown=chosen.shown(common))
