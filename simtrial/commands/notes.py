"""What commands say on stderr beside their results."""

from __future__ import annotations

import click

from simtrial.errors import one_line


def note(text: str) -> None:
    """Print a line on stderr; what it quotes from files and names cannot move the cursor or turn the writing."""
    click.echo(one_line(text), err=True)


def warn(text: str) -> None:
    """Print a line about what may be a mistake."""
    note(f"warning: {text}")
