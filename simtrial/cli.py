"""The command line; heavy packages are imported inside the commands that need them."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.group()
def cli() -> None:
    """Simulate cluster-randomised trials and test the estimators that analyse them."""


@cli.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--methods", required=True)
@click.option("--format", "form", default="table")
def analyse(data, methods, form):
    from simtrial.analyse import analyse
    from simtrial.data import read_trials
    from simtrial.scenario import load_methods
    ms = load_methods(methods)
    needed = set().union(*[m.reads() for m in ms])
    ids, batch = read_trials(data, needed, {})
    print(analyse(ids, batch, ms).write_csv(), end="")

def main(): cli()
