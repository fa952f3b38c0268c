"""The gate: a stored run beside its baseline, and a baseline written from a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.check.baseline import (
    Baseline,
    BaselineError,
    compact,
    described,
    read_baseline,
    refuse_another,
    write_baseline,
)
from simtrial.check.compare import ALPHA, Comparison, compare, pairs_of
from simtrial.check.pairs import Pair
from simtrial.check.same_trials import refuse_other_own_values, refuse_other_trials, version_notes
from simtrial.errors import IncompleteRunError, RunError
from simtrial.performance.summary import options_of
from simtrial.plugins.recorded import refuse_changed
from simtrial.scenario.cells import label
from simtrial.scenario.tables import Margins
from simtrial.store.data_checks import stored_checks
from simtrial.store.identity import from_json
from simtrial.store.paths import is_empty
from simtrial.store.reading import read_run_by_cell

NEEDED = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value",
          "status", "flags", "own_true_value", "ci_type", "message")  # fmt: skip
"""Columns of rows that the gate and the measures of performance need."""


@dataclass(frozen=True)
class Stored:
    """A run read back: its rows by cell, cells.parquet, run.json, and where it is."""

    folder: Path
    parts: Sequence[pl.DataFrame]
    cells: pl.DataFrame
    run: dict[str, Any]

    def about(self) -> dict[str, Any]:
        """What it is of, as a baseline keeps it."""
        names = [str(cell) for cell in self.cells["cell"].unique(maintain_order=True)]
        data = stored_checks(self.folder, names, from_json(self.run))
        size = self.run["scenario"]["run"]["block"]
        blocks = -(-self.run["replicates"] // size)
        within = {c: {b: found for b, found in of.items() if int(b) < blocks} for c, of in data.items()}
        return described(self.run, self.cells, within, self.run["replicates"])


@dataclass(frozen=True)
class Gate:
    """A run beside its baseline: comparisons, the worst first, and what else should be known.

    ``level`` is that of the first of Holm's tests; ``new`` are methods and cells that the baseline does not have.
    """

    file: Path
    reason: str
    replicates: int
    comparisons: tuple[Comparison, ...]
    level: float
    new: tuple[str, ...]
    notes: tuple[str, ...]

    def failing(self, strict: bool = False, identical: bool = False) -> list[Comparison]:
        """Comparisons that fail: different; ``strict``: undecided as well; ``identical``: whatever has changed."""
        good = ("identical",) if identical else ("identical", "equivalent", *(() if strict else ("undecided",)))
        return [c for c in self.comparisons if c.verdict not in good]


def read_stored(folder: Path) -> Stored:
    """Read a run back, unless it is empty or its plug-ins have changed since."""
    try:
        parts, cells, run = read_run_by_cell([folder], columns=NEEDED)
    except IncompleteRunError:
        if is_empty(folder):
            raise RunError(f"{folder}: an empty run: no block is finished, there is nothing to check") from None
        raise
    refuse_changed(run["plugins"])
    return Stored(folder, list(parts), cells, run)


def gate(stored: Stored, file: Path, alpha: float = ALPHA) -> Gate:
    """Compare a run with a baseline.

    Raises
    ------
    BaselineError
        When the two are not of the same trials and methods.
    StoreError
        When the baseline is damaged.
    """
    baseline, now = read_baseline(file), stored.about()
    refuse_another(file, baseline, now)
    labels = {cell: label(of["factors"]) or cell for cell, of in now["cells"].items()}
    notes = refuse_other_trials(baseline.about, now, labels) + version_notes(baseline.about, now)
    pairs = _pairs(stored, baseline)
    refuse_other_own_values(pairs, labels)
    if not any(len(pair.replicate) for pair in pairs):
        raise BaselineError(f"{file}: the run has no replicate of the baseline")
    margins = Margins.model_validate(stored.run["scenario"].get("margins", {})).model_dump()
    comparisons, level = compare(pairs, margins, alpha)
    return Gate(
        file=file, reason=baseline.reason, replicates=baseline.about["replicates"], comparisons=tuple(comparisons),
        level=level, new=tuple(_new(baseline.about, now, labels)), notes=tuple(notes),
    )  # fmt: skip


def _pairs(stored: Stored, baseline: Baseline) -> list[Pair]:
    """Rows of every cell beside the baseline's."""
    before = {cell: rows for (cell,), rows in baseline.rows.partition_by("cell", as_dict=True).items()}
    truths = {(row["cell"], row["estimand"]): row for row in stored.cells.iter_rows(named=True)}
    options, pairs = options_of(stored.run), list[Pair]()
    for part in stored.parts:
        cell = str(part["cell"][0])
        if cell in before:
            pairs += pairs_of(before[cell], part, truths, options)
    return pairs


def _new(before: dict[str, Any], now: dict[str, Any], labels: dict[str, str]) -> list[str]:
    """Methods and cells that the baseline does not have."""
    known = {m["name"] for m in before["scenario"]["methods"]}
    new = [f"method '{m['name']}'" for m in now["scenario"]["methods"] if m["name"] not in known]
    return new + [f"cell '{labels[cell]}'" for cell in now["cells"] if cell not in before["cells"]]


def update(stored: Stored, file: Path, reason: str) -> tuple[Baseline, bool]:
    """Write a run as the baseline, with the reason added to its history; one that would be the same is left alone.

    Returns
    -------
    baseline, written
        What the file holds now, and whether it was written.
    """
    held = read_baseline(file) if file.exists() else None
    history = [] if held is None else list(held.about["history"])
    about, rows = stored.about(), compact(pl.concat(stored.parts, how="diagonal"))
    if held is not None and {k: v for k, v in held.about.items() if k != "history"} == about and held.rows.equals(rows):
        return held, False
    entry = {"reason": reason, "simtrial": about["versions"]["simtrial"], "replicates": about["replicates"]}
    made = Baseline(rows, {**about, "history": [*history, entry]})
    write_baseline(file, made)
    return made, True
