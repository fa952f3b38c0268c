"""Chunks of rows with their records: which there are, written and read.

A chunk counts only with its record, which is written after it. A record names the cell, the blocks and the parts that
the chunk holds, the digests of its rows and of its failures, and that of the trials drawn. Nothing is parsed before its
digest is checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import StoreError
from simtrial.files.whole import parquet_bytes, read_bytes, write_bytes
from simtrial.store.identity import Identity, Part, mark_of
from simtrial.store.paths import Place, blocks, chunk_file, failures_file, place_of, record_file, records
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


@dataclass(frozen=True)
class Stored:
    """A chunk that counts: its place in the run, and what its record says of it."""

    folder: Path
    place: Place
    record: Mapping[str, Any]

    @cached_property
    def file(self) -> Path:
        """File of its rows."""
        return chunk_file(self.folder, self.place)

    @property
    def blocks(self) -> range:
        """The blocks that it holds."""
        return range(self.place.first, self.place.last + 1)

    @property
    def parts(self) -> dict[Part, str]:
        """The parts that it holds, with their digests."""
        return {(method, estimand): digest for method, estimand, digest in self.record["parts"]}

    def for_rows(self) -> Stored:
        """The same chunk with what is needed to read its rows: the rest of thousands of records fills memory."""
        return replace(self, record={name: self.record[name] for name in ("parts", "rows", "sha256")})


def write_chunk(
    folder: Path, place: Place, frame: pl.DataFrame, *, failures: Sequence[Mapping[str, Any]],
    trials: str, parts: Mapping[Part, str], provenance: str, about: Mapping[str, Any],
) -> None:  # fmt: skip
    """Write rows and failures of a chunk, and then the record that makes them count.

    ``trials`` is the digest of what the run draws, ``parts`` what the chunk holds; ``provenance`` is what the Parquet
    file carries, ``about`` is kept in the record.
    """
    content = parquet_bytes(frame, {"simtrial": provenance})
    write_bytes(chunk_file(folder, place), content)
    lines = "".join(json.dumps(failure) + "\n" for failure in failures).encode()
    if failures:
        write_bytes(failures_file(folder, place), lines)
    record = {
        "cell": place.cell, "first": place.first, "last": place.last, "rows": frame.height,
        "sha256": sha256_of(content), "failures": sha256_of(lines) if failures else None, "trials": trials,
        "parts": [[*part, digest] for part, digest in parts.items()], **about,
    }  # fmt: skip
    write_sealed(record_file(folder, place), record)


def stored_chunks(folder: Path, cell: str, identity: Identity | None, only: Place | None = None) -> Iterator[Stored]:
    """Chunks of a cell that count, in order of their blocks; ``only`` the one at a place.

    Without ``identity``, what the run is, chunks of other runs count as well.

    Raises
    ------
    StoreError
        When a record is not as it was written, or describes another chunk or other trials.
    """
    for name in sorted(file.stem for file in records(folder, cell).glob("*.json")):
        place = place_of(cell, name)
        if place is None or (only is not None and place != only):
            continue
        record = read_sealed(record_file(folder, place))
        if record is None or not chunk_file(folder, place).is_file():
            continue
        found = Stored(folder, place, record)
        _check_record(found, identity)
        yield found


def _check_record(found: Stored, identity: Identity | None) -> None:
    """Refuse a record that was copied or renamed, or is of another run."""
    file = record_file(found.folder, found.place)
    described = tuple(found.record.get(key) for key in ("cell", "first", "last"))
    if described != (found.place.cell, found.place.first, found.place.last):
        raise StoreError(f"{file}: damaged, it describes blocks {described[1]}-{described[2]} of another; {REPAIR}")
    if found.place.mark not in ("", mark_of(found.parts)):
        raise StoreError(f"{file}: damaged, it describes other methods or estimands than its name; {REPAIR}")
    if identity is None:
        return
    other = [part for part, digest in found.parts.items() if identity.digest(part) not in (None, digest)]
    if found.record.get("trials") != identity.trials or other:
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
    content = verified(failures_file(found.folder, found.place), found.record["failures"])
    return [json.loads(line) for line in content.decode().splitlines()]


def verified(file: Path, digest: str) -> bytes:
    """Content of a file that has this SHA-256; anything else is damage."""
    content = read_bytes(file)
    if content is None:
        raise StoreError(f"{file}: damaged, it is missing; {REPAIR}")
    if sha256_of(content) != digest:
        raise StoreError(f"{file}: damaged, its content has changed since it was written; {REPAIR}")
    return content


def sha256_of(content: bytes) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(content).hexdigest()


def held_parts(folder: Path, cell: str, identity: Identity) -> dict[int, frozenset[Part]]:
    """Parts of a request that some chunk holds, by block of a cell."""
    found: dict[int, frozenset[Part]] = {}
    wanted = frozenset(identity.parts)
    for chunk in stored_chunks(folder, cell, identity):
        here = wanted & chunk.parts.keys()
        for block in chunk.blocks:
            found[block] = found[block] | here if block in found else here
    return found


def is_held(folder: Path, place: Place) -> bool:
    """Whether blocks are stored by now with the parts of this place, judged by the names of files alone."""
    if record_file(folder, place).is_file() and chunk_file(folder, place).is_file():
        return True
    names = {file.stem for file in records(folder, place.cell).glob("*.json")}
    names &= {file.stem for file in blocks(folder, place.cell).glob("*.parquet")}
    places = [found for name in names if (found := place_of(place.cell, name)) is not None and found.mark == place.mark]
    held = {block for one in places for block in range(one.first, one.last + 1)}
    return set(range(place.first, place.last + 1)) <= held
