"""Cells of a run: their factors and true values, written once all are known, with a record like that of a chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError, StoreError
from simtrial.estimands import TrueValue
from simtrial.files.whole import parquet_bytes, remove, write_bytes
from simtrial.store.chunks import sha256_of, verified
from simtrial.store.identity import Identity
from simtrial.store.paths import cells_file, cells_record
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


def write_cells(
    folder: Path, truths: Mapping[str, Sequence[TrueValue]], own: Sequence[str], *, identity: Identity, provenance: str
) -> None:
    """Store every cell's factors and true values; ``own`` where methods are judged against each trial's own."""
    lines: list[tuple[Any, ...]] = []
    for cell, varied in identity.cells.items():
        factors, found = _text(varied), truths[cell]
        lines += [(cell, factors, t.estimand, t.value, t.mcse, t.practices) for t in found]
        if not found:
            lines.append((cell, factors, "", None, None, 0))
    schema = {"cell": pl.String, "factors": pl.String, "estimand": pl.String, "true_value": pl.Float64,
              "true_value_mcse": pl.Float64, "practices": pl.Int64}  # fmt: skip
    frame = pl.DataFrame(lines, schema=schema, orient="row").with_columns(pl.col(pl.Float64).fill_nan(None))
    if own:
        frame = frame.with_columns(pl.col("estimand").is_in(sorted(own)).alias("own"))
    content = parquet_bytes(frame, {"simtrial": provenance})
    remove(cells_record(folder))  # killed between the two files, a run has no cells rather than damaged ones
    write_bytes(cells_file(folder), content)
    about = {"trials": identity.trials, "estimands": identity.estimands, "cells": list(identity.cells)}
    write_sealed(cells_record(folder), {"rows": frame.height, "sha256": sha256_of(content), **about})


def has_cells(folder: Path, identity: Identity) -> bool:
    """Whether the true values of a request are stored, all of them."""
    record = read_sealed(cells_record(folder))
    return record is not None and cells_file(folder).is_file() and _covers(record, identity)


def _covers(record: Mapping[str, Any], identity: Identity) -> bool:
    """Whether a record of cells is about all cells and estimands of a request."""
    known = record["estimands"]
    alike = all(known.get(name) == digest for name, digest in identity.estimands.items())
    return alike and identity.cells.keys() <= set(record["cells"])


def read_cells(folder: Path, identity: Identity | None) -> pl.DataFrame:
    """Factors and true values of every cell of a request.

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
    if identity is not None and record.get("trials") != identity.trials:
        raise StoreError(f"{cells_record(folder)}: damaged, it belongs to another run; {REPAIR}")
    try:
        frame = pl.read_parquet(verified(cells_file(folder), str(record["sha256"])))
    except StoreError:
        if read_sealed(cells_record(folder)) != record:  # another process has written them anew just now
            return read_cells(folder, identity)
        raise
    if identity is None:
        return frame
    if not _covers(record, identity):
        raise IncompleteRunError(f"{folder}: some true values are not there yet; run the same command again")
    return of_request(frame, identity)


def of_request(frame: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """The lines of a request in its order; a cell without estimands has one line."""
    lines = {"cell": list(identity.cells), "factors": [_text(varied) for varied in identity.cells.values()]}
    cells = pl.DataFrame(lines, schema={"cell": pl.String, "factors": pl.String})
    asked = frame.filter(pl.col("estimand").is_in(list(identity.estimands))).drop("factors")
    joined = cells.join(asked, on="cell", how="left", maintain_order="left_right")
    return joined.with_columns(pl.col("estimand").fill_null(""), pl.col("practices").fill_null(0))


def _text(factors: Mapping[str, Any]) -> str:
    """Factors as the table holds them."""
    return json.dumps(dict(factors), sort_keys=True)
