"""Chunks of rows with their records: which there are, written and read.

A chunk counts only with its record, which is written after it. A record names the cell and the blocks that the chunk
holds, the digests of its rows and of its failures, and the scenario that they belong to. Nothing is parsed before its
digest is checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import StoreError
from simtrial.files.whole import parquet_bytes, read_bytes, write_bytes
from simtrial.store.paths import blocks, blocks_in, chunk_file, failures_file, record_file, records
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


@dataclass(frozen=True)
class Stored:
    """A chunk that counts: its place in the run, and what its record says of it."""

    folder: Path
    cell: str
    first: int
    last: int
    record: Mapping[str, Any]

    @property
    def file(self) -> Path:
        """File of its rows."""
        return chunk_file(self.folder, self.cell, self.first, self.last)

    @property
    def blocks(self) -> range:
        """The blocks that it holds."""
        return range(self.first, self.last + 1)


def write_chunk(
    folder: Path, cell: str, first: int, last: int, frame: pl.DataFrame, *, failures: Sequence[Mapping[str, Any]],
    identity: str, provenance: str, about: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write rows and failures of a chunk, and then the record that makes them count.

    ``identity`` is the digest of the scenario, ``provenance`` what the Parquet file carries, ``about`` is kept in the
    record.
    """
    content = parquet_bytes(frame, {"simtrial": provenance})
    write_bytes(chunk_file(folder, cell, first, last), content)
    lines = "".join(json.dumps(failure) + "\n" for failure in failures).encode()
    if failures:
        write_bytes(failures_file(folder, cell, first, last), lines)
    record = {
        "cell": cell, "first": first, "last": last, "rows": frame.height, "sha256": digest_of(content),
        "failures": digest_of(lines) if failures else None, "scenario": identity, **about,
    }  # fmt: skip
    write_sealed(record_file(folder, cell, first, last), record)


def stored_chunks(
    folder: Path, cell: str, identity: str | None, only: tuple[int, int] | None = None
) -> Iterator[Stored]:
    """Chunks of a cell that count, in order of their blocks; ``only`` that of these blocks, first and last.

    Without ``identity``, the digest of the run's scenario, chunks of other runs count as well.

    Raises
    ------
    StoreError
        When a record is not as it was written, or describes another chunk or scenario.
    """
    for name in sorted(file.stem for file in records(folder, cell).glob("*.json")):
        place = blocks_in(name)
        if place is None or (only is not None and place != only):
            continue
        first, last = place
        record = read_sealed(record_file(folder, cell, first, last))
        if record is None or not chunk_file(folder, cell, first, last).is_file():
            continue
        found = Stored(folder, cell, first, last, record)
        _check_record(found, identity)
        yield found


def _check_record(found: Stored, identity: str | None) -> None:
    """Refuse a record that was copied or renamed, or is of another run."""
    file = record_file(found.folder, found.cell, found.first, found.last)
    described = tuple(found.record.get(key) for key in ("cell", "first", "last"))
    if described != (found.cell, found.first, found.last):
        raise StoreError(f"{file}: damaged, it describes blocks {described[1]}-{described[2]} of another; {REPAIR}")
    if identity is not None and found.record.get("scenario") != identity:
        raise StoreError(f"{file}: damaged, it belongs to another run; {REPAIR}")


def read_chunk(found: Stored, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read a chunk back, all columns or those of some that it has, words as categories.

    One that is not what its record says is refused.
    """
    content = verified(found.file, str(found.record["sha256"]))
    if columns is None:
        frame = pl.read_parquet(content)
    else:
        there = pl.read_parquet_schema(content)
        frame = pl.read_parquet(content, columns=[c for c in columns if c in there])
        frame = frame.with_columns(pl.col(pl.String).cast(pl.Categorical))
    if frame.height != found.record["rows"]:
        raise StoreError(f"{found.file}: damaged, {frame.height} rows in place of {found.record['rows']}; {REPAIR}")
    return frame


def read_failures(found: Stored) -> list[dict[str, Any]]:
    """Failures of a chunk."""
    if found.record["failures"] is None:
        return []
    content = verified(failures_file(found.folder, found.cell, found.first, found.last), found.record["failures"])
    return [json.loads(line) for line in content.decode().splitlines()]


def verified(file: Path, digest: str) -> bytes:
    """Content of a file that has this SHA-256; anything else is damage."""
    content = read_bytes(file)
    if content is None:
        raise StoreError(f"{file}: damaged, it is missing; {REPAIR}")
    if digest_of(content) != digest:
        raise StoreError(f"{file}: damaged, its content has changed since it was written; {REPAIR}")
    return content


def digest_of(content: bytes) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def held_blocks(folder: Path, cell: str, identity: str) -> set[int]:
    """Blocks of a cell that some chunk holds."""
    return {block for found in stored_chunks(folder, cell, identity) for block in found.blocks}


def is_held(folder: Path, cell: str, first: int, last: int) -> bool:
    """Whether blocks are stored by now, judged by the names of files alone."""
    if record_file(folder, cell, first, last).is_file() and chunk_file(folder, cell, first, last).is_file():
        return True
    names = {file.stem for file in records(folder, cell).glob("*.json")}
    names &= {file.stem for file in blocks(folder, cell).glob("*.parquet")}
    places = [place for name in names if (place := blocks_in(name)) is not None]
    return set(range(first, last + 1)) <= {block for a, b in places for block in range(a, b + 1)}
