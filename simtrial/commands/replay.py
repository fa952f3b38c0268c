"""simtrial replay: one replicate of a run made again."""

from __future__ import annotations

from pathlib import Path

import click

from simtrial.commands.notes import note
from simtrial.commands.options import FORMAT, REPLICATE


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--replicate", type=REPLICATE, required=True, help="Number of the replicate, from 1.")
@click.option("--cell", metavar="FACTORS", help="Cell of a sweep, e.g. 'icc=0.05, number=12'; default: the first.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write its data set (CSV) into this folder.")
@FORMAT
def replay(run: Path, replicate: int, cell: str | None, output: Path | None, form: str) -> None:
    """Draw one replicate of a run again, analyse it by every method, and compare with the stored rows.

    Exit 1 if a stored row is another.

    Example: simtrial replay runs/a --replicate 17 -o trial
    """
    from simtrial.files.write_trials import refuse_file, trial_frames, write_frame
    from simtrial.report.tables import replay_table
    from simtrial.report.text import emit
    from simtrial.run.replay import cells_of, differing, replayed, stored_rows
    from simtrial.scenario.cells import file_stem
    from simtrial.scenario.named import named_cell

    if output is not None:
        refuse_file(output)
    cells = cells_of(run)
    chosen = named_cell(cells, cell)
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
    stored = stored_rows(run, chosen, replicate)
    if stored is None:
        note("not stored: nothing to compare with")
        return
    others = differing(rows, stored)
    if others:
        note(f"differs from the stored rows: {', '.join(others)}")
        raise click.exceptions.Exit(1)
    note("identical to the stored rows")
