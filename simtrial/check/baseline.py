"""A baseline: the rows of a run in one small Parquet file, with what they are rows of, sealed."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import SimtrialError, StoreError
from simtrial.files.whole import parquet_bytes, read_bytes, write_bytes
from simtrial.kernels.interval_sets import INTERVAL
from simtrial.store.data_checks import Checks
from simtrial.store.identity import differ_in_words, digest, simulated

FORMAT = 1
WRITE = "--update-baseline --reason '...'"
"""How a baseline is written, on the command line; the plug-in for pytest says its own way instead."""

ABOUT, SEAL = "simtrial-baseline", "simtrial-seal"
_OPEN = b"0" * 64
_SEALED = re.compile(SEAL.encode() + rb"[^0-9a-f]{1,4}([0-9a-f]{64})")

COLUMNS = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value",
           "status")  # fmt: skip
SOMETIMES = ("ci_type", "own_true_value")
"""Columns that are left out where they say nothing."""


class BaselineError(SimtrialError):
    """A baseline that a run cannot be compared with, and why."""


class ChangedDataError(BaselineError):
    """The generator, or what it is to estimate, is another: no method can be blamed for what follows."""


@dataclass(frozen=True)
class Baseline:
    """Rows of a run, and what they are of.

    ``about`` holds format, scenario (what is simulated, and by which methods), digest, replicates, versions, plugins,
    cells (factors and true values), data (checks by cell and block), history (reasons, the latest last).
    """

    rows: pl.DataFrame
    about: dict[str, Any]

    @property
    def reason(self) -> str:
        """Why it was last written."""
        return str(self.about["history"][-1]["reason"])


def described(
    run: Mapping[str, Any], cells: pl.DataFrame, data: Mapping[str, Mapping[str, Checks]], replicates: int
) -> dict[str, Any]:
    """What a run is of, as a baseline keeps it; ``cells`` as cells.parquet has them."""
    table: dict[str, Any] = {}
    for row in cells.iter_rows(named=True):
        cell = table.setdefault(row["cell"], {"factors": json.loads(row["factors"]), "true_values": {}})
        if row["estimand"]:
            names = ("true_value", "true_value_mcse", *(["own"] if row.get("own") else []))
            cell["true_values"][row["estimand"]] = {name: row[name] for name in names}
    plugins = [{"name": p["name"], "sha256": p["sha256"]} for p in run["plugins"]]
    return {
        "format": FORMAT, "scenario": simulated(run["scenario"]), "digest": digest(run["scenario"]),
        "replicates": replicates, "versions": run["versions"], "plugins": plugins, "cells": table,
        "data": {cell: dict(blocks) for cell, blocks in data.items()},
    }  # fmt: skip


def compact(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the columns that a baseline keeps, in the order and the types in which they take least room."""
    kept = [*COLUMNS, *(name for name in SOMETIMES if name in rows.columns and _tells(rows[name]))]
    words = ["cell", "method", "estimand", "status", *(["ci_type"] if "ci_type" in kept else [])]
    frame = rows.select(kept).with_columns(pl.col(words).cast(pl.String), pl.col("replicate").cast(pl.Int32))
    places = frame.select("cell", "method", "estimand").unique(maintain_order=True).with_row_index("place")
    joined = frame.join(places, on=["cell", "method", "estimand"], how="left", maintain_order="left")
    return joined.sort("place", "replicate").drop("place")


def _tells(column: pl.Series) -> bool:
    """Whether an occasional column says anything."""
    if column.name == "ci_type":
        return bool((column.cast(pl.String).fill_null(INTERVAL) != INTERVAL).any())
    return column.null_count() < len(column)


def write_baseline(file: Path, baseline: Baseline) -> int:
    """Write a baseline, sealed; return the size of the file in bytes. The same content gives the same bytes."""
    about = json.dumps(baseline.about, sort_keys=True, separators=(",", ":"), allow_nan=False)
    content = parquet_bytes(baseline.rows, {ABOUT: about, SEAL: _OPEN.decode()})
    ((begin, end),) = [found.span(1) for found in _SEALED.finditer(content)]
    sealed = content[:begin] + hashlib.sha256(content).hexdigest().encode() + content[end:]
    write_bytes(file, sealed)
    return len(sealed)


def read_baseline(file: Path) -> Baseline:
    """Read a baseline back.

    Raises
    ------
    BaselineError
        When there is none, or the file is something else.
    StoreError
        When it is not as it was written.
    """
    content = read_bytes(file)
    if content is None:
        raise BaselineError(f"{file}: no such baseline; {WRITE} writes one")
    if not _is_whole(file, content):
        raise BaselineError(f"{file}: not a baseline of simtrial")
    about = json.loads(_metadata(content)[ABOUT])
    if about.get("format") != FORMAT:
        raise BaselineError(f"{file}: this version cannot read its format; write it anew with {WRITE}")
    return Baseline(pl.read_parquet(BytesIO(content)), about)


def _metadata(content: bytes) -> dict[str, str]:
    return pl.read_parquet_metadata(BytesIO(content))


def _is_whole(file: Path, content: bytes) -> bool:
    """Whether a file is a baseline as it was written; False where it is none at all."""
    if content.startswith(b"version https://git-lfs"):
        raise BaselineError(f"{file}: a pointer of Git LFS stands in place of the file; fetch it with: git lfs pull")
    seal = _SEALED.search(content)
    if seal is not None:
        open_ = content[: seal.start(1)] + _OPEN + content[seal.end(1) :]
        if hashlib.sha256(open_).hexdigest().encode() == seal[1]:
            return True
    cut = content == b"" or (content.startswith(b"PAR1") and not content.endswith(b"PAR1"))
    if cut or ABOUT.encode() in content or SEAL.encode() in content:
        raise StoreError(
            f"{file}: damaged, its content has changed since it was written; restore it from version control, or "
            f"remove it and write a new one with {WRITE}"
        )
    return False


def refuse_another(file: Path, baseline: Baseline, now: Mapping[str, Any]) -> None:
    """Refuse a run that is of something else than the baseline, naming the first difference.

    Methods, estimands and cells that the baseline lacks may be there; those that it has must be, unchanged.

    Raises
    ------
    BaselineError
        About scenario, seed, block, methods, estimands or cells.
    ChangedDataError
        About the data or the true values.
    """
    before, here = baseline.about["scenario"], now["scenario"]
    listed = ("methods", "estimands", "vary", "run")
    difference = next(_differences(_without(before, listed), _without(here, listed)), None)
    difference = next(_differences(before["run"], here["run"], "run."), None) or difference
    for key in ("methods", "estimands"):
        difference = difference or _of_named(key, before.get(key, []), here.get(key, []))
    cells, there = baseline.about["cells"], now["cells"]
    gone = [cell for cell in cells if cell not in there]
    if gone:
        difference = difference or f"the cell {json.dumps(cells[gone[0]]['factors'])} is not in this run"
    if difference:
        raise BaselineError(
            f"{file}: the baseline is of another request: {difference}; compare with a baseline of this one, or write "
            f"it anew with {WRITE}"
        )


def _without(table: Mapping[str, Any], keys: Sequence[str]) -> dict[str, Any]:
    return {k: v for k, v in table.items() if k not in keys}


def _of_named(key: str, before: Sequence[Mapping[str, Any]], here: Sequence[Mapping[str, Any]]) -> str | None:
    """First difference of methods or estimands, by name; more of them are none."""
    known = {row["name"]: row for row in here}
    for row in before:
        if row["name"] not in known:
            return f"{key[:-1]} '{row['name']}' of the baseline is not in this run ({', '.join(known) or 'none'} are)"
        for difference in _differences(row, known[row["name"]]):
            return f"{key[:-1]} '{row['name']}': {difference}"
    return None


def _differences(before: Any, here: Any, path: str = "") -> Iterator[str]:
    """Places where two files differ, in order."""
    if isinstance(before, dict) and isinstance(here, dict):
        for name in dict.fromkeys([*before, *here]):
            yield from _differences(before.get(name), here.get(name), f"{path}{name}.")
    elif before != here:
        yield differ_in_words(path.rstrip("."), before, here, "in the baseline")
