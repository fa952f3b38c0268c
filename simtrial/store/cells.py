"""Cells of a run: their factors and true values, written once all are known, with a record like that of a chunk."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import IncompleteRunError, StoreError
from simtrial.estimands import TrueValue
from simtrial.files.whole import parquet_bytes, read_bytes, write_bytes
from simtrial.store.chunks import sha256_of
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
    about = {"estimands": identity.estimands, "cells": list(identity.cells)}
    mine = {"rows": frame.height, "sha256": sha256_of(content), **about}
    held = _described(read_sealed(cells_record(folder)), read_bytes(cells_file(folder)))
    if held is not None and held["sha256"] == mine["sha256"]:
        return
    if held is None:  # a table without a record does not count
        write_bytes(cells_file(folder), content)
    write_sealed(cells_record(folder), {**mine, "trials": identity.trials, "before": held})
    if held is not None:  # the record first, which knows the table before as well: whenever one reads, one is right
        write_bytes(cells_file(folder), content)


def _described(record: Mapping[str, Any] | None, content: bytes | None) -> dict[str, Any] | None:
    """What a record says of a table: it may be the one that was written last, or the one before."""
    if record is None or content is None:
        return None
    digest = sha256_of(content)
    last = {name: record.get(name) for name in ("rows", "sha256", "estimands", "cells")}
    return next((one for one in (last, record.get("before")) if one is not None and one["sha256"] == digest), None)


def has_cells(folder: Path, identity: Identity) -> bool:
    """Whether the true values of a request are stored, all of them, sound or damaged: a reader tells."""
    record, content = read_sealed(cells_record(folder)), read_bytes(cells_file(folder))
    if record is None or content is None:
        return False
    found = _described(record, content)
    return found is None or _covers(found, identity)


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
    record, content = read_sealed(cells_record(folder)), read_bytes(cells_file(folder))
    if record is None or content is None:
        raise IncompleteRunError(f"{folder}: no true values yet; run the same command again")
    if identity is not None and record.get("trials") != identity.trials:
        raise StoreError(f"{cells_record(folder)}: damaged, it belongs to another run; {REPAIR}")
    found = _described(record, content)
    if found is None:
        if read_sealed(cells_record(folder)) != record:  # another process has written them anew just now
            return read_cells(folder, identity)
        raise StoreError(f"{cells_file(folder)}: damaged, its content has changed since it was written; {REPAIR}")
    frame = pl.read_parquet(content)
    if identity is None:
        return frame
    if not _covers(found, identity):
        raise IncompleteRunError(f"{folder}: some true values are not there yet; run the same command again")
    return of_request(frame, identity)


def of_request(frame: pl.DataFrame, identity: Identity) -> pl.DataFrame:
    """The lines of a request in its order, that of factors as well; a cell without estimands has one line."""
    lines = {"cell": list(identity.cells), "factors": [json.dumps(dict(f)) for f in identity.cells.values()]}
    cells = pl.DataFrame(lines, schema={"cell": pl.String, "factors": pl.String})
    asked = frame.filter(pl.col("estimand").is_in(list(identity.estimands))).drop("factors")
    joined = cells.join(asked, on="cell", how="left", maintain_order="left_right")
    return joined.with_columns(pl.col("estimand").fill_null(""), pl.col("practices").fill_null(0))


def _text(factors: Mapping[str, Any]) -> str:
    """Factors as the table holds them: the same bytes in whatever order a scenario has them."""
    return json.dumps(dict(factors), sort_keys=True)
