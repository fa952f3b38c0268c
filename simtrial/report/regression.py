"""What a test of an estimator says when it fails: for readers who have not heard of simtrial."""

from __future__ import annotations

from collections.abc import Sequence

from simtrial.check.findings import Finding


def explained(findings: Sequence[Finding], scenario: str, baseline: str) -> str:
    """Findings of one method in sentences: what has changed, by how much, where to look, and what to do."""
    method = findings[0].method
    lines = []
    compared = [f for f in findings if f.source == "baseline"]
    if compared:
        lines.append(
            f"The estimator '{method}' gives other results than when {baseline} was written. It analysed the same "
            f"simulated trials ({compared[0].n:,} of scenario {scenario}), so the estimator has changed, or what it "
            "calls."
        )
    for found in findings:
        where = f" [{found.cell}]" if found.cell else ""
        counts = f"{found.failed:,} of {found.n:,} fits failed"
        sentence = found.sentence.replace("; ", ";\n    ")
        lines.append(f"  {found.verdict}{where}: {sentence} ({counts})")
        if found.command:
            lines.append(f"  To see it: {found.command}")
    return "\n".join(lines)
