"""A baseline as text, to be reviewed in a diff: what it is of, why it was written, and the performance of its rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.report.check_outputs import cell_text
from simtrial.report.performance import COLUMNS
from simtrial.report.text import with_mcse

DIGITS = {name: digits for name, _, digits in COLUMNS}
MEASURES = ("bias", "empirical_se", "model_se", "coverage", "rejection_rate", "median_width")
"""Measures of the text, each with its Monte Carlo standard error."""


def text_file(baseline: Path) -> Path:
    """File of a baseline's text, beside it."""
    return baseline.with_name(f"{baseline.name}.md")


def baseline_text(about: Mapping[str, Any], frame: pl.DataFrame, labels: Mapping[str, str]) -> str:
    """Text of a baseline in Markdown; ``frame`` is the performance of its rows."""
    scenario, versions = about["scenario"], about["versions"]
    lines = [
        f"# Baseline of {cell_text(str(scenario.get('name')))}",
        "",
        "Written by `simtrial check --update-baseline`; the Parquet file beside it is what is compared.",
        "",
        f"- scenario: {about['digest'][:16]}, seed {scenario['run']['seed']}, blocks of {scenario['run']['block']}",
        f"- replicates: {about['replicates']:,} in each of {len(about['cells'])} cell(s)",
        f"- versions: {', '.join(f'{name} {version}' for name, version in versions.items())}",
        *(f"- plug-in: {cell_text(p['name'])} {p['sha256'][:16]}" for p in about["plugins"]),
        *(f"- data of {cell_text(labels.get(c, c))}: {_of_data(b)}" for c, b in about["data"].items()),
        "",
        "## History",
        "",
        *(
            f"{at}. {cell_text(entry['reason'])} (simtrial {entry['simtrial']}, {entry['replicates']:,} replicates)"
            for at, entry in enumerate(about["history"], start=1)
        ),
        "",
        "## Performance (Monte Carlo standard error)",
        "",
    ]
    return "\n".join([*lines, *_table(about, frame, labels)]) + "\n"


def _of_data(blocks: Mapping[str, Mapping[str, str]]) -> str:
    """Digest of the checks of all blocks: another text where the generator is another."""
    from hashlib import sha256

    text = "".join(f"{b}{name}{check}" for b, of in sorted(blocks.items()) for name, check in sorted(of.items()))
    return sha256(text.encode()).hexdigest()[:16]


def _table(about: Mapping[str, Any], frame: pl.DataFrame, labels: Mapping[str, str]) -> list[str]:
    headings = ["cell", "method", "estimand", "true value", "replicates", "failed", *MEASURES]
    lines = [f"| {' | '.join(headings)} |", f"| {' | '.join(['---'] * 3 + ['---:'] * (len(headings) - 3))} |"]
    for (cell, method, estimand), group in frame.group_by("cell", "method", "estimand", maintain_order=True):
        found = {name: numbers for name, *numbers in group.select("measure", "value", "mcse", "n").rows()}
        truth = about["cells"][cell]["true_values"].get(estimand, {}).get("true_value")
        failed, _, n = found["failures"]
        values = [with_mcse(found[name][0], found[name][1], DIGITS[name] + 1) for name in MEASURES]
        shown = "-" if truth is None else f"{truth:.6g}"
        words = [labels.get(str(cell), str(cell)), str(method), str(estimand)]
        lines.append(f"| {' | '.join([*map(cell_text, words), shown, f'{n:,}', f'{failed:,.0f}', *values])} |")
    return lines
