"""Chunks of rows with their records: which there are, written and read. One counts only with a record that matches."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import StoreError
from simtrial.files.whole import parquet_bytes, write_bytes, write_json
from simtrial.store.paths import blocks, record_of


def write_chunk(file: Path, frame: pl.DataFrame, record: Mapping[str, Any], provenance: Mapping[str, str]) -> None:
    """Write a chunk and then the record that makes it count."""
    content = parquet_bytes(frame, provenance)
    write_bytes(file, content)
    digest = hashlib.sha256(content).hexdigest()
    write_json(record_of(file), {"sha256": digest, "rows": frame.height, **record})


def write_failures(file: Path, failures: Sequence[Mapping[str, Any]]) -> None:
    """Write what failed in a chunk, one line of JSON for each."""
    write_bytes(file, "".join(json.dumps(failure) + "\n" for failure in failures).encode())


def read_chunk(file: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a chunk back, all columns or those of some that it has, words as categories.

    One that is not what its record says is refused.
    """
    record = read_record(file)
    content = file.read_bytes()
    if record is None or hashlib.sha256(content).hexdigest() != record["sha256"]:
        raise StoreError(f"{file}: damaged, its content has changed since it was written; delete it and run again")
    if columns is None:
        return pl.read_parquet(content)
    there = pl.read_parquet_schema(content)
    return pl.read_parquet(content, columns=[c for c in columns if c in there]).with_columns(
        pl.col(pl.String).cast(pl.Categorical)
    )


def read_record(file: Path) -> dict[str, Any] | None:
    """Return the record of a chunk, None if unreadable."""
    try:
        found = json.loads(record_of(file).read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"sha256", "rows"} <= set(found) and file.is_file() else None


def chunk_files(folder: Path, cell: str) -> list[tuple[int, int, Path]]:
    """First block, last block and file of every chunk of a cell that counts."""
    found = []
    for file in sorted(blocks(folder, cell).glob("*.parquet")):
        if read_record(file) is not None:
            first, last = file.stem.split("-")
            found.append((int(first), int(last), file))
    return found


def held_blocks(folder: Path, cell: str) -> set[int]:
    """Blocks of a cell that some chunk holds."""
    return {b for first, last, _ in chunk_files(folder, cell) for b in range(first, last + 1)}


def covered(folder: Path, cell: str, wanted: int) -> int:
    """How many of the first ``wanted`` blocks of a cell are held."""
    return len(held_blocks(folder, cell) & set(range(wanted)))
