"""What `simtrial check` does with a stored run: expectations, failed fits and a baseline, in every output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from simtrial.commands.asked import Judged, Request
from simtrial.errors import SimtrialError

if TYPE_CHECKING:
    from simtrial.check.findings import Finding
    from simtrial.check.gate import Gate, Stored
    from simtrial.scenario import Cell, Scenario


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
    from simtrial.check.baseline import read_baseline, refuse_another
    from simtrial.commands import check_outputs
    from simtrial.store.identity import resolved, simulated

    table = {cell.id: {"factors": dict(cell.factors)} for cell in cells}
    try:
        refuse_another(file, read_baseline(file), {"scenario": simulated(resolved(scenario)), "cells": table})
    except SimtrialError as error:
        check_outputs.refused(error, asked)
        raise


def judged(stored: Stored, asked: Request) -> Judged:
    """Hold a run against its expectations, the bound of failed fits, and the baseline."""
    import polars as pl

    from simtrial.check.expectations import check
    from simtrial.check.failed_fits import failures, judge_failures
    from simtrial.check.findings import of_expectations
    from simtrial.check.gate import gate
    from simtrial.performance.summary import options_of, summary
    from simtrial.report.tables import cell_labels

    scenario = stored.run["scenario"]
    expected = expectations_of(stored, asked.against)
    if not expected and asked.baseline is None:
        raise SimtrialError(f"{asked.what}: its scenario has no [[expect]] table to check, and no --baseline is given")
    compared = None if asked.baseline is None else gate(stored, asked.baseline)
    options = options_of(stored.run, everything=True)
    if not expected:  # failures are counted with any measure
        options = replace(options, measures=["failures"])
    frame = pl.concat([summary(rows, stored.cells, options) for rows in stored.parts])
    labels = cell_labels(stored.cells)
    counts = {(r["cell"], r["method"]): (r["replicates"], r["failed"]) for r in failures(frame).iter_rows(named=True)}
    expectations = check(frame, stored.cells, expected, asked.rate)
    failed_fits = judge_failures(frame, stored.cells, scenario)
    if asked.again is not None:
        expectations = asked.again.verdicts(stored, expectations, expected, asked.rate)
    shown = labels if len(labels) > 1 else dict.fromkeys(labels, "")
    findings = of_expectations(expectations, shown, counts, "expectation")
    findings += of_expectations(failed_fits, shown, counts, "failed fits")
    findings += [] if compared is None else _of_baseline(compared, labels, shown, asked)
    return Judged(expectations, failed_fits, compared, findings, labels, counts)


def expectations_of(stored: Stored, published: Path | None) -> list[dict[str, Any]]:
    """Published values that a run is held against, or else the expectations of its scenario."""
    from simtrial.check.against import published_values

    if published is not None:
        return published_values(published, stored.run["scenario"], stored.cells)
    expected: list[dict[str, Any]] = stored.run["scenario"].get("expect", [])
    return expected


def _of_baseline(gate: Gate, labels: Mapping[str, str], shown: Mapping[str, str], asked: Request) -> list[Finding]:
    """Findings of a comparison with a baseline."""
    from simtrial.check.findings import Finding
    from simtrial.report import gate_words

    failing, found = gate.failing(asked.strict), []
    for one in gate.comparisons:
        first = gate_words.first_difference(one) if one.verdict in ("different", "undecided") else None
        text = "; ".join([gate_words.sentence(one), *one.notes])
        text += "" if first is None else f"; first replicate that differs: {first[0]} ({first[1]})"
        command = "" if first is None else gate_words.replay(asked.replay, one.cell, first[0], labels)
        found.append(
            Finding(
                source="baseline",
                cell=shown.get(one.cell, one.cell),
                method=one.method,
                measure=gate_words.named(gate_words.worst(one)[0].measure) if one.lines else "",
                sentence=text,
                verdict=gate_words.verdict(one),
                fails=one in failing,
                doubtful=one.verdict == "undecided",
                n=one.n,
                failed=one.failed,
                command=command,
            )
        )
    return found


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
