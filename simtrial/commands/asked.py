"""What is asked of `simtrial check`, and what it finds out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import polars as pl

    from simtrial.check.findings import Finding
    from simtrial.check.gate import Gate
    from simtrial.commands.fresh_check import Again


@dataclass(frozen=True)
class Request:
    """What is asked of a check.

    ``what`` is the scenario or run as the user named it; ``replay`` the command that shows a replicate, with places for
    {cell} and {replicate}; ``summary`` a file that a summary in Markdown is added to. ``rate`` is the probability of a
    false alarm over all expectations, or over the published values of the file ``against``; ``again`` how to run what
    fails once more.
    """

    what: str
    form: str
    replay: str
    baseline: Path | None = None
    update: bool = False
    reason: str = ""
    strict: bool = False
    summary: Path | None = None
    rate: float = 0.001
    against: Path | None = None
    again: Again | None = None


@dataclass(frozen=True)
class Judged:
    """Everything that a check has found out about a run."""

    expectations: pl.DataFrame
    failed_fits: pl.DataFrame
    gate: Gate | None
    findings: list[Finding]
    labels: Mapping[str, str]
    counts: Mapping[tuple[str, str], tuple[int, int]]

    @property
    def fails(self) -> bool:
        """Whether the check fails."""
        return any(f.fails for f in self.findings)
