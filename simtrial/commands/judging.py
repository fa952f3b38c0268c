"""What `simtrial check` does with a stored run: expectations, failed fits and a baseline, in every output."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands.asked import Request
from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.check.gate import Stored
    from simtrial.scenario import Cell, Scenario
    from simtrial.verdict import Judged


def judge(folder: Path, asked: Request) -> None:
    """Print what a run is worth; exit 1 when an expectation fails, too many fits fail, or a method is different."""
    from simtrial.check.gate import read_stored
    from simtrial.commands import check_outputs
    from simtrial.report.text import say_whole

    try:
        stored = read_stored(folder)
        found = None if asked.update else judged(stored, asked)
    except SimtrialError as error:
        check_outputs.refused(error, asked)
        raise
    if found is None:
        say_whole(_update(stored, asked))
        return
    check_outputs.write(found, stored, asked)
    if found.fails:
        raise click.exceptions.Exit(1)


def assess(folder: Path, asked: Request) -> Judged | None:
    """Hold a run against its baseline without printing anything; None where the baseline was written instead."""
    from simtrial.check.gate import read_stored

    stored = read_stored(folder)
    if asked.update:
        _update(stored, asked)
        return None
    return judged(stored, asked)


def refuse_early(file: Path, scenario: Scenario, cells: list[Cell], asked: Request) -> None:
    """Refuse a baseline of another request before anything is run."""
    from simtrial.check.one_replicate import refuse_another_request
    from simtrial.commands import check_outputs

    try:
        refuse_another_request(file, scenario, cells)
    except SimtrialError as error:
        check_outputs.refused(error, asked)
        raise


def judged(stored: Stored, asked: Request) -> Judged:
    """Hold a run against all that is asked."""
    from functools import partial

    from simtrial import verdict

    expected = verdict.expectations_of(stored, asked.against)
    anew = None if asked.again is None else partial(asked.again.verdicts, stored, expected, asked.rate)
    return verdict.judged(
        stored, asked.what, expected, asked.rate, asked.baseline, asked.strict, replay=asked.replay, anew=anew
    )


def _update(stored: Stored, asked: Request) -> str:
    """Write the run as the baseline, and its summary beside it; return a sentence about it."""
    import polars as pl

    from simtrial.check.gate import update
    from simtrial.files.whole import write_bytes
    from simtrial.performance.summary import options_of, summary
    from simtrial.report.baseline_text import MEASURES, baseline_text, text_file
    from simtrial.report.tables import cell_labels

    assert asked.baseline is not None
    made, written = update(stored, asked.baseline, asked.reason)
    options = replace(options_of(stored.run), measures=list(MEASURES), reference=None)
    frame = pl.concat([summary(rows, stored.cells, options) for rows in stored.parts])
    write_bytes(text_file(asked.baseline), baseline_text(made.about, frame, cell_labels(stored.cells)).encode())
    size = asked.baseline.stat().st_size
    if not written:
        return f"{asked.baseline}: holds these rows already; left as it is"
    rows = made.rows.height
    return (
        f"baseline: {asked.baseline} ({rows:,} rows, {size:,} bytes, {size / max(rows, 1):.1f} a row); to be reviewed: "
        f"{text_file(asked.baseline)}"
    )
