"""simtrial analyse: the methods on data sets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands.notes import note, warn
from simtrial.commands.options import CORE, FORMAT, PLUGINS, ScenarioName, records_of
from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.batch import ObservedBatch
    from simtrial.estimators import Method


@click.command()
@click.argument("data", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--methods", type=ScenarioName(), required=True, metavar="FILE", help="TOML with [[methods]], or a scenario."
)
@click.option("--map", "maps", multiple=True, metavar="NAME=YOURS[: VALUE=OURS, ...]",
              help="Your name of a column, and your values, e.g. 'arm=group: Control=0, Intervention=1'.")  # fmt: skip
@click.option("--factor", "factors", multiple=True, metavar="COLUMN", help="Take a column of numbers as categories.")
@click.option("--number", "numbers", multiple=True, metavar="COLUMN", help="Take labelled categories as their codes.")
@click.option("--missing", "missing", multiple=True, metavar="CODE", help="A code of missing values, e.g. -99.")
@click.option("--all-terms", is_flag=True, help="Print every coefficient.")
@click.option("--completed", type=click.Path(path_type=Path), metavar="DIR",
              help="Write what mi imputed into this folder, for R (mitml, mice) and Stata (mi import).")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True, help="Seed of methods that draw.")
@PLUGINS
@CORE
@FORMAT
def analyse(
    data: tuple[Path, ...], methods: str, maps: tuple[str, ...], factors: tuple[str, ...], numbers: tuple[str, ...],
    missing: tuple[str, ...], all_terms: bool, completed: Path | None, seed: int, plugins: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Analyse data sets (CSV, Parquet, Stata, or book.xlsx#Sheet) by the methods of a file.

    Needed columns: practice, arm (0/1), and those the methods read, e.g. mansa_followup; trial_id if there are several.

    Example: simtrial analyse trial.csv --methods methods.toml --map practice=gp_id
    """
    from simtrial.files.read_trials import open_files, outcomes_in, read_trials
    from simtrial.files.trials.column_use import use_of
    from simtrial.files.trials.missing_codes import likely_codes
    from simtrial.files.trials.value_maps import mapped
    from simtrial.report.analyses import analyses_table
    from simtrial.report.text import emit
    from simtrial.run.analyse import analyse as analyse_trials
    from simtrial.scenario import load_categories, load_methods

    if "" in (code.strip() for code in missing):
        raise SimtrialError("--missing takes a code, e.g. --missing -99; blank cells are missing anyway")
    records_of(plugins)
    skipped = [file for file in data if file.name == "codebook.csv"]
    if skipped:
        note(f"{skipped[0]}: skipped, it is a codebook")
        data = tuple(file for file in data if file not in skipped)
        if not data:
            raise SimtrialError("no data set is left: a codebook was the only file given")
    sources = open_files(data)
    ways = [mapped(text, {name for source in sources for name in source.columns}) for text in maps]
    renamed = {way.ours: way.column for way in ways}
    twice = [way.ours for way in ways if [other.ours for other in ways].count(way.ours) > 1]
    if twice:
        raise SimtrialError(f"--map {twice[0]}=...: given twice")
    chosen = load_methods(methods, outcomes_in(sources, renamed))
    use = use_of(chosen, factors, numbers, *load_categories(methods), missing=missing)
    needed = frozenset[str]().union(*(m.reads() for m in chosen))
    ids, batch = read_trials(sources, needed, renamed, use=use, told=warn, ways=ways)
    for sentence in likely_codes(batch):
        warn(sentence)
    if completed is not None:
        _write_completed(completed, ids, batch, chosen, seed)
    frame = analyse_trials(ids, batch, chosen, seed, all_terms)
    if form == "table":
        analyses_table(frame, chosen)
    else:
        emit(frame, form)


def _write_completed(
    folder: Path, ids: Sequence[str], batch: ObservedBatch, methods: Sequence[Method], seed: int
) -> None:
    """Write the data sets that every `mi` among the methods completes."""
    from simtrial.estimators.mi import MultipleImputation
    from simtrial.files.write_completed import write_completed
    from simtrial.run.completed import completed_frame

    frames = {}
    for method in methods:
        if isinstance(method, MultipleImputation):
            frame, failed = completed_frame(ids, batch, method, seed)
            if failed:
                more = f" and {len(failed) - 1} more" if len(failed) > 1 else ""
                warn(f"--completed: '{method.name}' could not impute {failed[0]}{more}; left out of the files")
            if frame.height:
                frames[method.name] = frame
    if not any(isinstance(method, MultipleImputation) for method in methods):
        raise SimtrialError("--completed: no method of kind 'mi' is among the methods, so nothing is imputed")
    for file in write_completed(folder, frames):
        note(f"written: {file}")
