"""Cells of a run: their factors and true values, written once all are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.estimands import TrueValue
from simtrial.files.whole import parquet_bytes, write_bytes
from simtrial.scenario import Cell, Scenario
from simtrial.store.directory import provenance
from simtrial.store.paths import cells_file


def write_cells(
    folder: Path, scenario: Scenario, cells: Sequence[Cell], truths: Mapping[str, Sequence[TrueValue]]
) -> None:
    """Store every cell's factors and true values; ``own`` where methods are judged against each trial's own."""
    lines: list[tuple[Any, ...]] = []
    own = {e.name for e in scenario.estimands if e.finite}
    for cell in cells:
        factors = json.dumps(dict(cell.factors), sort_keys=True)
        found = truths[cell.id]
        lines += [(cell.id, factors, t.estimand, t.value, t.mcse, t.practices) for t in found]
        if not found:
            lines.append((cell.id, factors, "", None, None, 0))
    schema = {"cell": pl.String, "factors": pl.String, "estimand": pl.String, "true_value": pl.Float64,
              "true_value_mcse": pl.Float64, "practices": pl.Int64}  # fmt: skip
    frame = pl.DataFrame(lines, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
    if own:
        frame = frame.with_columns(pl.col("estimand").is_in(sorted(own)).alias("own"))
    write_bytes(cells_file(folder), parquet_bytes(frame, {"simtrial": provenance(scenario)}))
