"""A run held against what is expected of it, from Python."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.check.against import published_values
from simtrial.check.expectations import check
from simtrial.check.failed_fits import failures, judge_failures
from simtrial.check.findings import Finding, of_expectations
from simtrial.check.gate import NEEDED, Gate, Stored, gate
from simtrial.errors import SimtrialError
from simtrial.performance.summary import options_of, summary
from simtrial.report import gate_words
from simtrial.report.tables import cell_labels
from simtrial.store.reading import read_run_by_cell


@dataclass(frozen=True, repr=False, eq=False)
class Verdict:
    """What a check has found out; true if nothing fails.

    Attributes
    ----------
    findings
        One row per thing that was checked: source (expectation, failed fits, baseline), cell, method, measure, verdict,
        fails, doubtful, n, failed, sentence.
    expectations
        Expectations beside results: value, mcse, expected, distance and what is allowed, in standard errors.
    comparison
        The run beside its baseline, if there is one.
    """

    findings: pl.DataFrame
    expectations: pl.DataFrame
    comparison: Gate | None

    @property
    def passed(self) -> bool:
        """Whether nothing fails."""
        return not self.findings["fails"].any()

    def __bool__(self) -> bool:
        return self.passed

    def __repr__(self) -> str:
        failing = self.findings.filter("fails")
        lines = [" ".join(filter(None, (r["cell"], f"{r['method']}:", r["sentence"]))) for r in failing.to_dicts()]
        return "\n".join([f"Verdict: {self.findings.height - len(lines)} hold, {len(lines)} fail", *lines])


def judged(
    folder: Path, run: Mapping[str, Any], baseline: Path | None, against: Path | None, rate: float, strict: bool
) -> Verdict:
    """Hold a run against its expectations or published values, the bound of failed fits, and a baseline."""
    parts, cells, _ = read_run_by_cell([folder], columns=NEEDED, run=run)
    stored = Stored(folder, list(parts), cells, dict(run))
    scenario = run["scenario"]
    expected = published_values(against, scenario, cells) if against is not None else scenario.get("expect", [])
    if not expected and baseline is None:
        raise SimtrialError(f"{folder}: its scenario has no [[expect]] table to check, and no baseline is given")
    options = options_of(run, everything=True)
    frame = pl.concat([summary(rows, cells, options) for rows in stored.parts])
    counts = {(r["cell"], r["method"]): (r["replicates"], r["failed"]) for r in failures(frame).iter_rows(named=True)}
    labels = cell_labels(cells)
    shown = labels if len(labels) > 1 else dict.fromkeys(labels, "")
    expectations = check(frame, cells, expected, rate)
    findings = of_expectations(expectations, shown, counts, "expectation")
    findings += of_expectations(judge_failures(frame, cells, scenario), shown, counts, "failed fits")
    compared = None if baseline is None else gate(stored, baseline)
    findings += [] if compared is None else _of_baseline(compared, shown, strict)
    lines = [{name: value for name, value in asdict(one).items() if name != "command"} for one in findings]
    return Verdict(pl.DataFrame(lines, infer_schema_length=None), expectations, compared)


def _of_baseline(compared: Gate, shown: Mapping[str, str], strict: bool) -> list[Finding]:
    """Findings of a comparison with a baseline, replicate by replicate."""
    failing = compared.failing(strict)
    return [
        Finding(
            source="baseline", cell=shown.get(one.cell, one.cell), method=one.method,
            measure=gate_words.named(gate_words.worst(one)[0].measure) if one.lines else "",
            sentence="; ".join([gate_words.sentence(one), *one.notes]), verdict=gate_words.verdict(one),
            fails=one in failing, doubtful=one.verdict == "undecided", n=one.n, failed=one.failed,
        )
        for one in compared.comparisons
    ]  # fmt: skip
