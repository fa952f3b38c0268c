"""simtrial list: what scenario files and commands can name."""

from __future__ import annotations

import click

from simtrial.commands.options import FORMAT


@click.command("list")
@FORMAT
def list_(form: str) -> None:
    """List built-in scenarios, generators, methods, estimands, measures and flags.

    Example: simtrial list
    """
    from simtrial.catalogue import catalogue
    from simtrial.report.text import emit_words, show

    rows, headings = list(catalogue()), ["what", "name", "meaning"]
    if form == "table":
        show("What there is", headings, rows, 3)
    else:
        emit_words(headings, rows, form)
