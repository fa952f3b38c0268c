"""Text tables: published results beside simulated ones, replays, expectations; cells and their factors by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from math import isfinite, isnan
from shlex import quote
from typing import Any

import numpy as np
import polars as pl

from simtrial.arrays import Floats
from simtrial.performance.groups import UNKNOWN
from simtrial.performance.rows import Rows, first_failures, groups_of
from simtrial.performance.summing import present
from simtrial.performance.tiled import quantiles
from simtrial.report.false_alarms import alarms
from simtrial.report.text import number, say, say_whole, show
from simtrial.scenario.cells import label

FEW = 8
"""Commands printed for failed replicates; of more, the number."""


def beside_published(rows: Rows, published: Sequence[Mapping[str, Any]], labels: Mapping[str, str]) -> list[list[str]]:
    """Published estimate and CI half-width, each with median and central 95% range of a cell's simulated ones."""
    groups, lines = list(groups_of(rows)), []
    for row in published:
        group = next((group for group in groups if row["method"] in group.methods), None)
        sample = None if group is None else group.judged(row["method"], UNKNOWN).sample
        estimate = _middle(NONE if sample is None else sample.estimate)
        half = _middle(NONE if sample is None else sample.width / 2)
        printed = (row["ci_upper"] - row["ci_lower"]) / 2
        off = f"{round(100 * (half[1] / printed - 1)):+d}%" if isfinite(half[1]) else "-"
        lines.append([
            *_label(groups[0].cell, labels), row["method"], number(row["estimate"], 3), *_written(estimate),
            number(printed, 3), *_written(half), off,
        ])  # fmt: skip
    return lines


def published_table(lines: Sequence[Sequence[str]], labels: Mapping[str, str]) -> None:
    """Print the lines of `beside_published`."""
    headings = [*_cell_heading(labels), "method", "published estimate", "simulated median", "central 95%",
                "published half-width", "simulated half-width", "central 95% of half-widths", "difference"]  # fmt: skip
    show("Published and simulated estimates and CI half-widths", headings, lines, 1 + _many(labels))


def replay_table(rows: pl.DataFrame, title: str) -> None:
    """Print what every method makes of one replicate of a run, and what is unusual about it."""
    shown, odd = [], []
    for row in rows.unique("method", keep="first", maintain_order=True).iter_rows(named=True):
        digits = [(row[n], d) for n, d in (("estimate", 4), ("std_error", 4), ("df", 1), ("p_value", 4))]
        interval = "-" if row["ci_lower"] is None else f"{number(row['ci_lower'], 3)} to {number(row['ci_upper'], 3)}"
        used = [str(row["n_used"]), str(row["clusters_used"])]
        shown.append([row["method"], row["status"], *(number(v, d) for v, d in digits), interval, *used])
        notes = [row["flags"].replace(";", ", "), row.get("message") or ""]
        odd += [f"{row['method']}: {'; '.join(note for note in notes if note)}"] if any(notes) else []
    show(title, ["method", "status", "estimate", "SE", "df", "p", "interval", "people", "practices"], shown, 2)
    for line in odd:
        say(line)


def replay_commands(rows: Rows, folder: str, labels: Mapping[str, str], methods: Collection[str] = ()) -> list[str]:
    """Command that makes the first failed replicate of each method of a cell again; of some methods, or of all."""
    cells = {cell: f" --cell {quote(label)}" if _many(labels) else "" for cell, label in labels.items()}
    return [
        f"{method}: simtrial replay {quote(folder)}{cells[cell]} --replicate {replicate}"
        for cell, method, replicate in first_failures(rows)
        if not methods or method in methods
    ]


def print_replays(commands: Sequence[str]) -> None:
    """Say how to look at failed fits: the first ones, each by a command of its own."""
    say("To draw a failed replicate again and look at it, the first of each method:")
    for line in commands[:FEW]:
        say_whole(f"  {line}")
    if len(commands) > FEW:
        say(f"  and {len(commands) - FEW} more methods or cells")
    say("")


def check_table(frame: pl.DataFrame, labels: Mapping[str, str], title: str = "Expectations") -> None:
    """Print expectations with their fits (`simtrial.check.failed_fits.with_fits`) beside results, failures first."""
    rows = []
    for row in frame.sort(pl.col("verdict") == "ok", maintain_order=True).iter_rows(named=True):
        value = "-" if row["value"] is None else f"{row['value']:.4g}"
        mcse = "-" if row["mcse"] is None else f"{row['mcse']:.2g}"
        distance = "-" if row["allowed"] is None else f"{number(row['distance'], 2)} of {number(row['allowed'], 1)}"
        named = [row["verdict"], row["method"], row["measure"]]
        used = [f"{row[name] or 0:,}" for name in ("replicates", "failed")]
        rows.append([*_label(row["cell"], labels), *named, *used, f"{value} ({mcse})", row["expected"], distance])
    headings = [*_cell_heading(labels), "verdict", "method", "measure", "replicates", "failed", "found (MCSE)",
                "expected", "standard errors"]  # fmt: skip
    failed = int((frame["verdict"] == "FAIL").sum())
    show(f"{title}: {frame.height - failed} hold, {failed} fail", headings, rows, 3 + _many(labels))
    if "false_alarm" in frame.columns:
        say(alarms(frame))


NONE = np.empty(0)


def _middle(values: Floats) -> Floats:
    """Median of values between the ends of their central 95%; NaN where there is no value."""
    (seen,) = present(values)
    return quantiles(seen, [0.025, 0.5, 0.975]) if len(seen) else np.full(3, np.nan)


def _written(middle: Floats) -> tuple[str, str]:
    low, median, high = map(float, middle)
    return number(median, 3), "-" if isnan(median) else f"{number(low, 3)} to {number(high, 3)}"


def _many(labels: Mapping[str, str]) -> int:
    return int(len(labels) > 1)


def _cell_heading(labels: Mapping[str, str]) -> list[str]:
    return ["cell"] if _many(labels) else []


def _label(cell: str, labels: Mapping[str, str]) -> list[str]:
    return [labels.get(cell, cell)] if _many(labels) else []


def cell_labels(cells: pl.DataFrame) -> dict[str, str]:
    """Short description of every cell: the varied keys without their common beginning."""
    found = {}
    for cell, factors in cells.select("cell", "factors").unique(maintain_order=True).iter_rows():
        found[cell] = label(json.loads(factors)) or cell
    return found


def adaptive_note(until: Mapping[str, float]) -> None:
    """Say that the number of replicates depended on the results, and what that does."""
    wanted = ", ".join(f"{measure} {error:g}" for measure, error in until.items())
    say(
        "Replicates were added to each cell until these Monte Carlo errors were reached, or the most replicates:\n"
        f"{wanted}.\n"
        "A cell that ends when its errors happen to be small has errors that are up to 3% too small, and shares\n"
        "near 0 or 1 lie up to a fifth of a Monte Carlo error too near (docs/measures.md).\n"
    )


def with_factors(frame: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Put each varied factor in a column of its own, after the cell; a name that is taken becomes, say, ``by:n``."""
    lines: list[dict[str, Any]] = []
    for cell, factors in cells.select("cell", "factors").unique(maintain_order=True).iter_rows():
        line = {"cell": cell}
        for name, value in json.loads(factors).items():
            free = name
            while free in frame.columns or free in line:
                free = f"by:{free}"
            # a list or a table is one level of a factor, and one word in a column
            line[free] = json.dumps(value) if isinstance(value, (list, dict)) else value
        lines.append(line)
    factors = pl.DataFrame(lines, infer_schema_length=None)
    joined = frame.join(factors, on="cell", how="left", maintain_order="left")
    names = [c for c in factors.columns if c != "cell"]
    return joined.select("cell", *names, *(c for c in frame.columns if c != "cell"))
