"""simtrial report: a run as one HTML page."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note


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
    from simtrial.report.page.page import write_page
    from simtrial.store.paths import report_file

    file = output or report_file(run)
    note(f"report: {file} ({write_page(run, file, partial):,} bytes)")
