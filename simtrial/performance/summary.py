"""Performance of a run: the options that its scenario asks for, and rows with true values to a frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from simtrial.performance import Options, performance
from simtrial.performance.rows import Rows


def options_of(run: Mapping[str, Any], everything: bool = False) -> Options:
    """Measures that a run's scenario reports, or all measures."""
    scenario = run["scenario"]
    table = scenario.get("performance", {})
    alphas = {m["name"]: 1 - m["level"] for m in scenario.get("methods", []) if "level" in m}
    return Options(
        [] if everything else table.get("measures", []),
        table.get("mcse", "robust"),
        table.get("reference") or None,
        alphas,
    )


def summary(rows: Rows, cells: pl.DataFrame, options: Options) -> pl.DataFrame:
    """Performance of rows read back, in long form."""
    return performance(rows, cells.filter(pl.col("estimand") != ""), options)
