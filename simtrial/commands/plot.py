"""simtrial plot: one figure for a paper."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands.notes import note
from simtrial.commands.options import given, names_in, of_file, pair_of
from simtrial.errors import SimtrialError
from simtrial.figures import kind_named, kind_names

if TYPE_CHECKING:
    from simtrial.figures.parts.choice import Choice
    from simtrial.figures.parts.kind import Kind
    from simtrial.figures.parts.material import Material

FEW = 24
"""Panels drawn where no cell is named."""


@click.command(epilog=f"Figures: {', '.join(kind_names())}.")
@click.argument("run", metavar="RUN|FILE", type=click.Path(path_type=Path))
@click.argument("kind", metavar="KIND")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FILE.svg|png|pdf",
              help="File to write, its format by its name.")  # fmt: skip
@click.option(
    "--method", "methods", multiple=True, help="Only this method; several: in turn. paired: the reference first."
)
@click.option("--cell", "cells", multiple=True, metavar="FACTORS", help="Only this cell, e.g. 'icc=0.05, number=12'.")
@click.option(
    "--measure",
    "measures",
    multiple=True,
    help="Measure of lollipop (several: with commas), nested-loop, power or heatmap; characteristic of trials.",
)
@click.option("--factor", help="Factor along the axis of power, or the outermost loop of nested-loop.")
@click.option("--replicate", type=click.IntRange(min=1), default=1, show_default=True, help="Replicate of flow.")
@click.option("--column", type=click.Choice(["single", "double"]), default="double", show_default=True,
              help="Width of a journal's column: 85 or 170 mm.")  # fmt: skip
@click.option("--partial", is_flag=True, help="Draw the finished part of a run.")
@of_file
def plot(
    run: Path, kind: str, output: Path, methods: tuple[str, ...], cells: tuple[str, ...], measures: tuple[str, ...],
    factor: str | None, replicate: int, column: str, partial: bool, true: str | None, by: tuple[str, ...],
    maps: tuple[str, ...], df: float | None, level: float,
) -> None:  # fmt: skip
    """Draw one figure of a run, or of a FILE of results, for a paper: svg, png or pdf.

    The same results give the same bytes. Sizes are those of a journal's column (85 mm) or page (170 mm).

    Example: simtrial plot runs/a zip -o zip.pdf --method "mixed model" --column single
    """
    chosen = kind_named(kind)
    from simtrial.figures.parts.choice import Choice
    from simtrial.figures.parts.compose import figure, fitting
    from simtrial.figures.parts.look import Look
    from simtrial.figures.parts.saving import format_of, save

    format_of(output)
    if chosen.needs != "scenario":  # characteristics of trials have commas of their own
        measures = names_in(measures)
    asked = Choice(methods=methods, cells=cells, measures=measures, factor=factor, replicate=replicate)
    if run.is_dir() or not run.suffix:
        if others := given("true", "by", "maps", "df", "level"):
            raise SimtrialError(f"{run}: {others[0]} is for a FILE of results; a run has its own")
        material = of_a_run(run, chosen, asked, partial)
    else:
        material = of_a_file(run, maps, by, true, df, level)
    frame = chosen.prepare(material, asked)
    frame, left = (frame, "") if cells else fitting(chosen, frame, FEW)
    if chosen.needs == "scenario" and not cells and len(material.factors) > (shown := frame["cell"].n_unique()):
        left = f"{'the first cell' if shown == 1 else f'the first {shown}'} of {len(material.factors):,} cells"
    if left:
        note(f"{left} drawn; --cell chooses others")
    save(figure(chosen, frame, Look(material.methods, material.labels), column), output, chosen.title)
    note(f"figure: {output}")


def of_a_run(folder: Path, kind: Kind, asked: Choice, partial: bool) -> Material:
    """Read of a run what a figure needs."""
    from simtrial.figures.parts.material import cells_named, of_run
    from simtrial.store.directory import read_run

    wanted = set(cells_named(asked.cells, read_run(folder)["cells"]))
    rows = kind.needs == "rows"
    return of_run(
        folder,
        partial,
        lambda cell, at: rows and (cell in wanted if asked.cells else at < FEW),
        measured=kind.needs == "performance",
    )


def of_a_file(
    file: Path, maps: tuple[str, ...], by: tuple[str, ...], true: str | None, df: float | None, level: float
) -> Material:
    """Read a file of results."""
    from simtrial.figures.parts.material import of_file
    from simtrial.files.read_results import Reading, results

    found = results(file, Reading(dict(pair_of(text, "--map") for text in maps), by, true, df, level))
    for text in (found.columns, *found.notes):
        note(text)
    return of_file(found, level)
