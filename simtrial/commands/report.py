"""simtrial report: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note
from simtrial.errors import IncompleteRunError

PANELS = 24
"""Panels of a figure of replicates, one for each method and estimand of a cell."""


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE.html",
              help="File to write; default: report.html in the run directory.")  # fmt: skip
@click.option("--partial", is_flag=True, help="Report the finished part of a run.")
def report(run: Path, output: Path | None, partial: bool) -> None:
    """Write a run as one self-contained HTML page: scenario, failures, performance, figures and the tables behind them.

    The page needs no network and no other file, and is readable with scripts off. The same run gives the same bytes.

    Example: simtrial report runs/a -o a.html
    """
    from simtrial.figures import installed

    installed()
    from simtrial.figures.parts.material import of_run
    from simtrial.files.whole import write_bytes
    from simtrial.report.page.page import page
    from simtrial.store.directory import read_run
    from simtrial.store.paths import report_file

    missing, shown = "", max(1, PANELS // len(read_run(run)["parts"]))  # cells whose replicates are shown one by one
    try:
        material = of_run(run, False, lambda cell, at: at < shown)
    except IncompleteRunError as error:
        if not partial:
            raise
        missing = f"Incomplete: {str(error).partition(';')[0].partition(': ')[2]}; numbers are of the finished part."
        material = of_run(run, True, lambda cell, at: at < shown)
    file = output or report_file(run)
    content = page(material, missing).encode("utf-8")
    write_bytes(file, content)
    note(f"report: {file} ({len(content):,} bytes)")
