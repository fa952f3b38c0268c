"""simtrial doctor: the machine and the installation, to paste into a report of a fault."""

from __future__ import annotations

import click

from simtrial.commands.options import FORMAT


@click.command()
@FORMAT
def doctor(form: str) -> None:
    """Print versions, cores, BLAS, memory and disk, and whether a small trial gives the numbers it should.

    Exit 5 if it does not.

    Example: simtrial doctor
    """
    import polars as pl

    from simtrial.report.text import emit, show
    from simtrial.run.doctor import findings

    rows, sound = findings()
    if form == "table":
        show("This machine", ["what", "found"], rows, 2)
    else:
        emit(pl.DataFrame(rows, schema=["what", "found"], orient="row"), form)
    if not sound:
        raise click.exceptions.Exit(5)
