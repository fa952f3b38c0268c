"""A run held against what is expected of it: what `simtrial check` prints, and what Python returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.check.against import published_values
from simtrial.check.causes import first_failures
from simtrial.check.compare import Comparison
from simtrial.check.expectations import check
from simtrial.check.failed_fits import judge_failures, with_fits
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


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Everything that is found out about a run: tables of expectations and failed fits, the baseline, and findings."""

    expectations: pl.DataFrame
    failed_fits: pl.DataFrame
    gate: Gate | None
    findings: list[Finding]
    labels: Mapping[str, str]

    @property
    def fails(self) -> bool:
        """Whether anything fails."""
        return any(finding.fails for finding in self.findings)


def expectations_of(stored: Stored, published: Path | None) -> list[dict[str, Any]]:
    """Published values that a run is held against, or else the expectations of its scenario."""
    if published is not None:
        return published_values(published, stored.run["scenario"], stored.cells)
    expected: list[dict[str, Any]] = stored.run["scenario"].get("expect", [])
    return expected


def judged(
    stored: Stored, what: str, expected: Sequence[Mapping[str, Any]], rate: float, baseline: Path | None, strict: bool,
    *, identical: bool = False, replay: str = "", anew: Callable[[pl.DataFrame], pl.DataFrame] | None = None,
) -> Judged:  # fmt: skip
    """Hold a run against expectations or published values, the bound of failed fits, and a baseline.

    ``replay`` is the command that shows a replicate, with places for {cell} and {replicate}; ``anew`` takes the rows of
    the expectations and returns them with those that failed judged once more.
    """
    if not expected and baseline is None:
        raise SimtrialError(f"{what}: its scenario has no [[expect]] table to check, and no --baseline is given")
    compared = None if baseline is None else gate(stored, baseline)
    options = options_of(stored.run, everything=True)
    if not expected:  # failures are counted with any measure
        options = replace(options, measures=["failures"])
    frame = pl.concat([summary(rows, stored.cells, options) for rows in stored.parts])
    expectations = with_fits(check(frame, stored.cells, expected, rate), frame)
    expectations = expectations if anew is None else anew(expectations)
    failed_fits = with_fits(judge_failures(frame, stored.cells, stored.run["scenario"]), frame)
    labels = cell_labels(stored.cells)
    shown = labels if len(labels) > 1 else dict.fromkeys(labels, "")

    def command(cell: str, replicate: int) -> str:
        return gate_words.replay(replay, cell, replicate, labels) if replay else ""

    first, findings = first_failures(stored.parts), list[Finding]()
    for table, source in ((expectations, "expectation"), (failed_fits, "failed fits")):
        findings += of_expectations(table, shown, source, first, command)
    findings += (
        [] if compared is None else _of_baseline(compared, labels, shown, compared.failing(strict, identical), replay)
    )
    return Judged(expectations=expectations, failed_fits=failed_fits, gate=compared, findings=findings, labels=labels)


def _of_baseline(
    compared: Gate, labels: Mapping[str, str], shown: Mapping[str, str], failing: Sequence[Comparison],
    replay: str,
) -> list[Finding]:  # fmt: skip
    """Findings of a comparison with a baseline, replicate by replicate."""
    found = []
    for one in compared.comparisons:
        first = gate_words.first_difference(one)
        text = "; ".join([gate_words.sentence(one), *one.notes])
        text += "" if first is None else f"; first replicate that differs: {first[0]} ({first[1]})"
        command = "" if first is None or not replay else gate_words.replay(replay, one.cell, first[0], labels)
        found.append(
            Finding(
                source="baseline", cell=shown.get(one.cell, one.cell), method=one.method,
                measure=gate_words.named(gate_words.worst(one)[0].measure) if one.lines else "", sentence=text,
                verdict=gate_words.verdict(one), fails=one in failing, doubtful=one.verdict == "undecided", n=one.n,
                failed=one.failed, command=command, about="baseline" + (f": {one.estimand}" if one.estimand else ""),
            )
        )  # fmt: skip
    return found


def verdict(
    folder: Path, run: Mapping[str, Any], baseline: Path | None, against: Path | None, rate: float, strict: bool,
    identical: bool = False,
) -> Verdict:  # fmt: skip
    """Hold a run, or the part of it that a request is for, against what is expected of it."""
    parts, cells, _ = read_run_by_cell([folder], columns=NEEDED, run=run)
    stored = Stored(folder, list(parts), cells, dict(run))
    found = judged(stored, str(folder), expectations_of(stored, against), rate, baseline, strict, identical=identical)
    lines = [
        {name: value for name, value in asdict(one).items() if name not in ("command", "about")}
        for one in found.findings
    ]
    return Verdict(pl.DataFrame(lines, infer_schema_length=None), found.expectations, found.gate)
