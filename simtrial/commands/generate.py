"""simtrial generate: simulated trials as data sets."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.scenario import Cell
from simtrial.commands.notes import note
from simtrial.commands.options import PLUGINS, REPLICATE, SEED, SETS, given, load_cells, records_of


@click.command()
@click.argument("scenario")
@click.option("-n", "--replicates", type=REPLICATE, default=1, show_default=True, help="How many trials.")
@click.option("--replicate", type=REPLICATE, help="This replicate alone, exactly as a run draws it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="Folder for the data sets.")
@click.option("--cell", metavar="FACTORS", help="Cell of a sweep, e.g. 'icc=0.05, number=12'; see simtrial show.")
@click.option("--format", "form", type=click.Choice(["csv", "parquet", "dta"]), default="csv", show_default=True)
@click.option("--with-latent", is_flag=True, help="Add potential outcomes and other latent columns.")
@PLUGINS
@SEED
@SETS
def generate(
    scenario: str, replicates: int, replicate: int | None, output: Path, cell: str | None, form: str,
    with_latent: bool, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...],
) -> None:  # fmt: skip
    """Write simulated trials as data sets, with a codebook.

    The same command again writes the same files; a folder with other data files is refused.

    Example: simtrial generate partners -n 10 -o trials
    """
    from simtrial.files.write_trials import codebook, refuse_others, trial_frames, write_frame
    from simtrial.scenario.cells import file_stem

    if replicate and given("replicates"):
        raise SimtrialError("--replicate is one replicate and -n the first ones: give one of them")
    records_of(plugins)
    _, cells = load_cells(scenario, sets, None, seed)
    chosen = named_cell(cells, cell)
    first, last = (replicate, replicate) if replicate else (1, replicates)
    names = {n: v.label for n, v in chosen.scenario.variables.items()}
    stem = file_stem(cells, chosen)
    files = {number: f"{stem}-{number:06d}.{form}" for number in range(first, last + 1)}
    refuse_others(output, ["codebook.csv", *files.values()])
    for number, frame in trial_frames(chosen, first, last, with_latent, stem):
        write_frame(frame, output / files[number], names)
    count = len(files)
    write_frame(codebook(chosen.scenario.mechanism, with_latent), output / "codebook.csv", {})
    others = f" (--cell chooses another of {len(cells)})" if len(cells) > 1 else ""
    which = f" of cell '{chosen.label}'{others}" if chosen.factors else ""
    note(f"{count} data set{'s' if count > 1 else ''}{which} and codebook.csv in {output}")


def named_cell(cells: list[Cell], name: str | None) -> Cell:
    """Cell by name: its factors in any order (0.10 is 0.1), the name in files, or its id; default: the first."""
    from simtrial.errors import unknown
    from simtrial.scenario.cells import file_names

    if name is None:
        return cells[0]
    files = file_names(cells)
    parts = _factors(name)
    for cell in cells:
        if (name and name in (cell.id, cell.label, files[cell.id])) or parts == _factors(cell.label):
            return cell
    raise SimtrialError(unknown("cell", name, [cell.label for cell in cells]))


def _factors(label: str) -> list[str]:
    """Factors of a cell's name in one order and without spaces, numbers in one spelling."""
    return sorted("=".join(_spelled(side) for side in part.split("=")) for part in label.split(","))


def _spelled(text: str) -> str:
    """A number as Python writes it, true and false in small letters, anything else as it is."""
    text = text.strip()
    try:
        return repr(float(text))
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
