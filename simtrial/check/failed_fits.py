"""Failed fits judged: a method that fails too often fails the check, whatever its successful fits look like."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from simtrial.check.expectations import COLUMNS

JUDGED = [name for name in COLUMNS if name not in ("expectation", "false_alarm")]
"""Columns of a bound that is no expectation: none of its failures is due to chance alone."""

BOUND = 0.01
"""Share of failed fits that a method may have, where the scenario states none ([check] failures)."""


def judge_failures(frame: pl.DataFrame, cells: pl.DataFrame, scenario: Mapping[str, Any]) -> pl.DataFrame:
    """Judge the share of failed fits of every method in every cell against the scenario's bound.

    Where an [[expect]] of the scenario is about the failures of a method, it stands in place of the bound.

    Returns
    -------
    frame
        One row per cell and method: `JUDGED`, as of `simtrial.check.expectations.check`.
    """
    bound = float(scenario.get("check", {}).get("failures", BOUND))
    factors = {c: json.loads(f) for c, f in cells.select("cell", "factors").unique(maintain_order=True).iter_rows()}
    stated: Sequence[Mapping[str, Any]] = [e for e in scenario.get("expect", []) if e["measure"] == "failures"]
    lines = []
    for row in failures(frame).iter_rows(named=True):
        here = factors[row["cell"]]
        if any(
            wanted["method"] == row["method"] and all(here.get(k) == v for k, v in wanted.get("cell", {}).items())
            for wanted in stated
        ):
            continue
        share = row["failed"] / row["replicates"]
        verdict = "FAIL" if share > bound else "ok"
        lines.append((row["cell"], row["method"], "", "failures", share, row["mcse"] / row["replicates"],
                      row["replicates"], f"<= {bound:g}", None, None, verdict))  # fmt: skip
    return pl.DataFrame(lines, schema=JUDGED, orient="row", infer_schema_length=None)


def with_fits(rows: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Add to rows of a check the ``replicates`` and ``failed`` fits of their method in a performance."""
    if not rows.height:
        return rows
    counts = failures(frame).select("cell", "method", "replicates", "failed")
    return rows.join(counts, on=["cell", "method"], how="left", maintain_order="left")


def failures(frame: pl.DataFrame) -> pl.DataFrame:
    """Replicates and failed fits of every cell and method: cell, method, replicates, failed, mcse."""
    first = frame.filter(pl.col("measure") == "failures").unique(["cell", "method"], keep="first", maintain_order=True)
    return first.select("cell", "method", replicates="n", failed=pl.col("value").cast(pl.Int64), mcse="mcse")
