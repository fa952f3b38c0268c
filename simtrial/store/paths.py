"""Names of the files in a run directory."""

from __future__ import annotations

import re
from pathlib import Path

_CHUNK = re.compile(r"(\d{6,})-(\d{6,})")


def run_file(folder: Path) -> Path:
    """What the directory is for: scenario, digest, seed, versions."""
    return folder / "run.json"


def cells_file(folder: Path) -> Path:
    """Varied factors and true values of every cell."""
    return folder / "cells.parquet"


def cells_record(folder: Path) -> Path:
    """Record of the table of cells."""
    return folder / "records" / "cells.json"


def blocks(folder: Path, cell: str) -> Path:
    """Folder of a cell's chunks, which holds Parquet alone."""
    return folder / "blocks" / cell


def records(folder: Path, cell: str) -> Path:
    """Folder of the records of a cell's chunks."""
    return folder / "records" / cell


def chunk_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """Rows of blocks ``first`` to ``last`` (both included) of a cell."""
    return blocks(folder, cell) / f"{chunk_name(first, last)}.parquet"


def record_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """Record of a chunk."""
    return records(folder, cell) / f"{chunk_name(first, last)}.json"


def failures_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """What failed in a chunk, one line of JSON for each failure."""
    return folder / "failures" / cell / f"{chunk_name(first, last)}.jsonl"


def claim_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """Sign that a process is at work on a chunk; it may outlive the process, and then counts no more."""
    return folder / "claims" / f"{cell}-{chunk_name(first, last)}"


def chunk_name(first: int, last: int) -> str:
    """Name of what belongs to blocks ``first`` to ``last``, without an ending."""
    return f"{first:06d}-{last:06d}"


def blocks_in(name: str) -> tuple[int, int] | None:
    """First and last block of a file's name without its ending, None if it is not one of ours."""
    found = _CHUNK.fullmatch(name)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    return (first, last) if chunk_name(first, last) == name and first <= last else None


def performance_file(folder: Path) -> Path:
    """Performance as last summarised; made from the rows, never a source."""
    return folder / "performance.parquet"


def is_empty(folder: Path) -> bool:
    """Whether no chunk of any cell is recorded."""
    return not any((folder / "records").glob("*/*.json"))
