"""Cells of a run: their factors and true values, written once all are known, with a record like that of a chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError, StoreError
from simtrial.estimands import TrueValue
from simtrial.files.whole import parquet_bytes, write_bytes
from simtrial.scenario import Cell, Scenario
from simtrial.store.chunks import digest_of, verified
from simtrial.store.paths import cells_file, cells_record
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


def write_cells(
    folder: Path, scenario: Scenario, cells: Sequence[Cell], truths: Mapping[str, Sequence[TrueValue]],
    *, identity: str, provenance: str,
) -> None:  # fmt: skip
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
    content = parquet_bytes(frame, {"simtrial": provenance})
    write_bytes(cells_file(folder), content)
    write_sealed(cells_record(folder), {"rows": frame.height, "sha256": digest_of(content), "scenario": identity})


def has_cells(folder: Path) -> bool:
    """Whether the true values are stored."""
    return cells_file(folder).is_file() and cells_record(folder).is_file()


def read_cells(folder: Path, identity: str | None) -> pl.DataFrame:
    """Factors and true values of every cell.

    Raises
    ------
    IncompleteRunError
        When they are not stored yet.
    StoreError
        When they are not what their record says.
    """
    record = read_sealed(cells_record(folder))
    if record is None or not cells_file(folder).is_file():
        raise IncompleteRunError(f"{folder}: no true values yet; run the same command again")
    if identity is not None and record.get("scenario") != identity:
        raise StoreError(f"{cells_record(folder)}: damaged, it belongs to another run; {REPAIR}")
    return pl.read_parquet(verified(cells_file(folder), str(record["sha256"])))
