"""simtrial replay: one replicate of a run or a scenario made again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands.notes import note
from simtrial.commands.options import (
    CORE,
    FORMAT,
    PLUGINS,
    REPLICATE,
    SEED,
    SETS,
    ScenarioName,
    given,
    load_cells,
    records_of,
)
from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    import polars as pl

    from simtrial.scenario import Cell


@click.command()
@click.argument("what", type=ScenarioName(), metavar="RUN|SCENARIO")
@click.option("--replicate", type=REPLICATE, required=True, help="Number of the replicate, from 1.")
@click.option("--cell", metavar="FACTORS", help="Cell of a sweep, e.g. 'icc=0.05, number=12'; default: the first.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write its data set (CSV) into this folder.")
@click.option("--baseline", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
              help="Compare with its rows in this baseline (simtrial check --baseline).")  # fmt: skip
@PLUGINS
@SEED
@SETS
@CORE
@FORMAT
def replay(
    what: str, replicate: int, cell: str | None, output: Path | None, baseline: Path | None,
    plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...], form: str,
) -> None:  # fmt: skip
    """Draw one replicate again, analyse it by every method, and compare with a run's stored rows or a baseline's.

    Of a scenario no run is needed: --plugin, --seed and --set are as for run. For a run, --plugin says where a plug-in
    is now. Exit 1 if a row is another.

    Example: simtrial replay runs/a --replicate 17 -o trial
    """
    from simtrial.check.one_replicate import refuse_another_request
    from simtrial.core import using
    from simtrial.files.write_trials import refuse_file, trial_frames, write_frame
    from simtrial.report.tables import replay_table
    from simtrial.report.text import emit
    from simtrial.run.replay import replayed
    from simtrial.scenario.cells import file_stem
    from simtrial.scenario.named import named_cell
    from simtrial.store.directory import core_of, read_run

    if output is not None:
        refuse_file(output)
    run = Path(what) if Path(what).is_dir() else None
    cells = _cells(what, run, plugins, seed, sets)
    chosen = named_cell(cells, cell)
    if baseline is not None:
        refuse_another_request(baseline, chosen.scenario, cells)
    with using(None if run is None else core_of(read_run(run), run)):
        rows = replayed(chosen, replicate)
    if output is not None:
        stem = file_stem(cells, chosen)
        file = output / f"{stem}-{replicate:06d}.csv"
        ((_, frame),) = trial_frames(chosen, replicate, replicate, name=stem)
        write_frame(frame, file, {})
        note(f"data set: {file}")
    if form == "table":
        replay_table(rows, f"Replicate {replicate}" + (f" of cell '{chosen.label}'" if chosen.factors else ""))
    else:
        emit(rows, form)
    other = [run is not None and _differs_from_run(run, chosen, replicate, rows)]
    other += [baseline is not None and _differs_from_baseline(baseline, chosen, replicate, rows)]
    if run is None and baseline is None:
        note("compared with nothing: give a run directory in place of the scenario, or --baseline FILE")
    if any(other):
        raise click.exceptions.Exit(1)


def _cells(
    what: str, run: Path | None, plugins: tuple[str, ...], seed: int | None, sets: tuple[str, ...]
) -> list[Cell]:
    """Cells of a run as it was begun, or of a scenario as it is now."""
    from simtrial.run.replay import cells_of

    if run is None:
        records_of(plugins)
        return load_cells(what, sets, None, seed)[1]
    records_of(plugins)  # those of the run, where they have moved
    stated = given("seed", "sets")
    if stated:
        raise SimtrialError(f"{stated[0]} goes with a scenario; {run} is a run, which has its own")
    return cells_of(run)


def _differs_from_run(run: Path, cell: Cell, replicate: int, rows: pl.DataFrame) -> bool:
    """Say whether the rows are those that the run stored."""
    from simtrial.run.replay import differing, stored_rows

    stored = stored_rows(run, cell, replicate)
    if stored is None:
        note(f"{run}: this replicate is not stored there: it has no rows to compare with")
        return False
    others = differing(rows, stored)
    verdict = f"different: {', '.join(others)}" if others else "identical"
    note(f"compared with the rows stored in {run}: {verdict}")
    return bool(others)


def _differs_from_baseline(file: Path, cell: Cell, replicate: int, rows: pl.DataFrame) -> bool:
    """Say which methods have other rows than in a baseline, and which numbers."""
    from simtrial.check.one_replicate import beside_baseline
    from simtrial.report.gate_words import number_in_full

    found = beside_baseline(file, cell, replicate, rows)
    others = [one for one in found if one.differences]
    alike = f"{len(found) - len(others)} of {len(found)} rows are the same"
    note(f"compared with the baseline {file}: {alike}" + (", different:" if others else ""))
    for one in others:
        against = f" against {one.estimand}" if one.estimand else ""
        changes = [
            f"{name} {number_in_full(before)} in the baseline, {number_in_full(now)} now"
            for name, before, now in one.differences
        ]
        note(f"  {one.method}{against}: {'; '.join(changes)}")
    return bool(others)
