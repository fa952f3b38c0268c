"""Outputs of `simtrial check`: text, CSV, JSON, JUnit, annotations of GitHub and its step summary."""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from simtrial.errors import EnvironmentFailure, SimtrialError

if TYPE_CHECKING:
    import polars as pl

    from simtrial.check.gate import Gate, Stored
    from simtrial.commands.request import Request
    from simtrial.verdict import Judged


def write(found: Judged, stored: Stored, asked: Request) -> None:
    """Print a check in the form that was asked for, and add to the summary if there is one."""
    from simtrial.report import check_outputs
    from simtrial.report.text import emit, emit_text

    if asked.form in ("csv", "json"):
        beside = {"verdict": "FAIL" if found.fails else "ok", **_beside(found.gate)}
        emit(_frame(found, stored), asked.form, beside)
    elif asked.form == "junit":
        emit_text(check_outputs.junit(found.findings, asked.what).rstrip("\n"))
    elif asked.form == "github":
        text = io.StringIO()
        with redirect_stdout(text):
            _print(found, asked)
        emit_text(check_outputs.fenced(text.getvalue()).rstrip("\n"))
        for line in check_outputs.github_annotations(found.findings, _places(asked.what)):
            emit_text(line)
    else:
        _print(found, asked)
    notes = [] if found.gate is None else [*found.gate.notes, *(f"new, not compared: {n}" for n in found.gate.new)]
    _summarise(check_outputs.markdown(found.findings, asked.what, notes), asked)


def refused(error: SimtrialError, asked: Request) -> None:
    """Say in the words of GitHub why nothing could be checked, where it reads them."""
    from simtrial.report import check_outputs
    from simtrial.report.text import emit_text

    if asked.form == "github":
        emit_text(check_outputs.annotation_of(str(error)))
    with suppress(EnvironmentFailure):  # the error itself matters more
        _summarise(check_outputs.refusal(str(error), asked.what), asked)


def _print(found: Judged, asked: Request) -> None:
    """Print tables: expectations, failed fits, and the comparison with the baseline."""
    import polars as pl

    from simtrial.report.gate_text import MANY, print_gate
    from simtrial.report.tables import check_table
    from simtrial.report.text import say, say_whole

    if found.expectations.height:
        check_table(found.expectations, found.labels)
    above = found.failed_fits.filter(pl.col("verdict") == "FAIL")
    if above.height:
        check_table(above, found.labels, "Failed fits above the bound")
        say("[check] failures in the scenario, or an [[expect]] about failures, states how many fits may fail.\n")
    failing = [f for f in found.findings if f.fails and f.measure == "failures" and f.source != "baseline"]
    for one in failing[:MANY]:
        where = f" (cell {one.cell})" if one.cell else ""
        say(f"{one.method}{where}: {one.sentence}" + ("; to see it:" if one.command else ""))
        if one.command:
            say_whole(f"  {one.command}")
    if above.height:
        say("")
    if found.failed_fits.height and not above.height:
        fits, failed = (found.failed_fits[name].sum() for name in ("replicates", "failed"))
        stated = found.expectations.filter(pl.col("measure") == "failures").height
        which = " by methods without an expectation about them" if stated else ""
        say(f"Failed fits: {failed:,} of {fits:,}{which}, no method above its bound")
    if found.gate is not None:
        print_gate(found.gate, found.labels, asked.replay, found.gate.failing(asked.strict, asked.identical))


def _frame(found: Judged, stored: Stored) -> pl.DataFrame:
    """Every line of a check: expectations, failed fits above the bound, and measures beside the baseline."""
    import polars as pl

    from simtrial.report.tables import with_factors

    above = found.failed_fits.filter(pl.col("verdict") == "FAIL")
    named = {"expectation": found.expectations, "failed fits": above, "baseline": _measures(found.gate)}
    frames = [frame.with_columns(against=pl.lit(name)) for name, frame in named.items() if frame.height]
    every = pl.concat(frames, how="diagonal_relaxed")
    return with_factors(every, stored.cells)


def _measures(gate: Gate | None) -> pl.DataFrame:
    """Measures beside those of the baseline, one row each."""
    import polars as pl

    rows = []
    for one in () if gate is None else gate.comparisons:
        place = {"cell": one.cell, "method": one.method, "estimand": one.estimand}
        fits = {"replicates": one.n, "failed": one.failed}
        for line in one.lines:
            numbers = asdict(line)
            numbers["value"], numbers["baseline"] = numbers.pop("now"), numbers.pop("before")
            rows.append({**place, "measure": numbers.pop("measure"), **numbers, "method_verdict": one.verdict, **fits})
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return frame.with_columns(pl.col(pl.Float64).fill_nan(None)) if rows else frame


def _beside(gate: Gate | None) -> dict[str, object]:
    if gate is None:
        return {}
    return {"baseline": str(gate.file), "reason": gate.reason, "level": gate.level, "notes": list(gate.notes),
            "new": list(gate.new)}  # fmt: skip


def _places(what: str) -> dict[str, tuple[str, int]]:
    from simtrial.scenario.method_lines import method_lines

    return method_lines(what)


def _summary_file(asked: Request) -> Path | None:
    """File that was named for the summary, or that of a GitHub step."""
    named = os.environ.get("GITHUB_STEP_SUMMARY", "") if asked.form == "github" else ""
    return asked.summary or (Path(named) if named else None)


def refuse_summary(asked: Request) -> None:
    """Refuse a summary that cannot be written where it is wanted, before anything is run for it."""
    file = _summary_file(asked)
    if file is not None and not file.parent.is_dir():
        raise EnvironmentFailure(f"{file}: cannot be written (there is no folder {file.parent})")


def _summarise(text: str, asked: Request) -> None:
    """Add a summary to its file, if there is one."""
    file = _summary_file(asked)
    if file is None:
        return
    try:
        with file.open("a", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        raise EnvironmentFailure(f"{file}: cannot be written ({error.strerror or error})") from None
