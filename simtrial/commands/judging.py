"""What `simtrial check` does with a stored run: expectations, failed fits and a baseline, in every output."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from simtrial.commands.request import Request
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


def refuse_early(scenario: Scenario, cells: list[Cell], asked: Request) -> None:
    """Read every file that a check needs before anything is run; refuse what it could not use afterwards."""
    import polars as pl

    from simtrial.check.against import published_values
    from simtrial.check.baseline import read_baseline
    from simtrial.check.one_replicate import refuse_another_request
    from simtrial.commands import check_outputs
    from simtrial.store.identity import resolved

    try:
        if asked.baseline is not None and not asked.update:
            refuse_another_request(asked.baseline, scenario, cells)
        elif asked.baseline is not None and asked.baseline.exists():  # its history is kept
            read_baseline(asked.baseline)
        if asked.against is not None:
            table = [{"cell": cell.id, "factors": json.dumps(dict(cell.factors))} for cell in cells]
            published_values(asked.against, resolved(scenario), pl.DataFrame(table))
        check_outputs.refuse_summary(asked)
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
        stored, asked.what, expected, asked.rate, asked.baseline, asked.strict, identical=asked.identical,
        replay=asked.replay, anew=anew,
    )  # fmt: skip


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
