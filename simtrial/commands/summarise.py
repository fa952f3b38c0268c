"""simtrial summarise: the performance of a run, or of results made elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands import run_directories
from simtrial.commands.options import FORMAT, pair_of
from simtrial.errors import SimtrialError, one_line


@click.command()
@click.argument("runs", metavar="RUN...|FILE", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--partial", is_flag=True, help="Summarise the finished part of a run.")
@click.option(
    "--mcse", type=click.Choice(["robust", "jackknife", "normal"]), help="Form of Monte Carlo standard errors."
)
@click.option("--reference", metavar="METHOD", help="Compare the others with this method, trial by trial.")
@click.option("--common", is_flag=True, help="Only replicates in which every method has an estimate.")
@click.option("--true", "true", metavar="NUMBER|COLUMN", help="FILE: the true value.")
@click.option("--by", "by", multiple=True, metavar="COLUMN", help="FILE: a factor that defines cells.")
@click.option(
    "--map", "maps", multiple=True, metavar="NAME=YOURS", help="FILE: your name of a column, e.g. estimate=b."
)
@click.option("--df", type=float, help="FILE: degrees of freedom for all; inf: normal.")
@click.option("--level", type=click.FloatRange(0.5, 1, min_open=True, max_open=True), default=0.95, show_default=True,
              help="FILE: level of intervals and tests.")  # fmt: skip
@FORMAT
def summarise(
    runs: tuple[Path, ...], partial: bool, mcse: str | None, reference: str | None, common: bool, true: str | None,
    by: tuple[str, ...], maps: tuple[str, ...], df: float | None, level: float, form: str,
) -> None:  # fmt: skip
    """Print the performance of runs, or of a FILE of results from other programs (CSV, Parquet, .dta).

    Several run directories of the same trials are read as one run: other replicates, methods or cells of it. Those of
    other trials are printed side by side.

    A file has one row per replicate and method (rsimsum's, siman's or our column names are known), or one per replicate
    with columns such as b_1, se_b_1 (simsum) or est1, se1 (siman).

    Example: simtrial summarise estimates.csv --true 0.5 --by dgm --reference lmm
    """
    if len(runs) > 1 or runs[0].is_dir() or not runs[0].suffix:
        run_directories.summarise(runs, form, partial, mcse, reference, common)
        return
    (run,) = runs
    import polars as pl

    from simtrial.files.read_results import Reading, pairs, results
    from simtrial.performance import Options, performance
    from simtrial.report import tables

    renamed = [pair_of(text, "--map") for text in maps]
    for name, _ in renamed:
        if [ours for ours, _ in renamed].count(name) > 1:
            raise SimtrialError(f"--map {name}=...: given twice")
    found = results(run, Reading(dict(renamed), by, true, df, level))
    rows, cells = found.rows, found.cells
    methods = rows["method"].unique(maintain_order=True).to_list()
    run_directories.reference_method(reference, methods)
    if reference is not None or common:
        pairs(found, run, reference)
    for text in (found.columns, *found.notes):
        click.echo(one_line(text), err=True)
    alphas = dict.fromkeys(methods, 1 - level)
    chosen = Options(form=mcse or "robust", reference=reference, alphas=alphas, common=common)  # type: ignore[arg-type]
    frame = performance(rows, cells.filter(pl.col("true_value").is_not_null() | pl.col("own")), chosen)
    tables.print_performance(frame, cells, form, stored=False)
