"""Names of the files in a run directory."""

from __future__ import annotations

from pathlib import Path


def run_file(folder: Path) -> Path:
    """What the directory is for: scenario, digest, seed, versions."""
    return folder / "run.json"


def cells_file(folder: Path) -> Path:
    """Varied factors and true values of every cell."""
    return folder / "cells.parquet"


def blocks(folder: Path, cell: str) -> Path:
    """Folder of a cell's chunks."""
    return folder / "blocks" / cell


def chunk_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """Rows of blocks ``first`` to ``last`` (both included) of a cell."""
    return blocks(folder, cell) / f"{first:06d}-{last:06d}.parquet"


def record_of(chunk: Path) -> Path:
    """Record of a chunk, beside it."""
    return chunk.with_suffix(".json")


def failures_file(folder: Path, cell: str, first: int, last: int) -> Path:
    """What failed in a chunk, one line of JSON for each failure."""
    return folder / "failures" / f"{cell}-{first:06d}-{last:06d}.jsonl"


def performance_file(folder: Path) -> Path:
    """Performance as last summarised; made from the rows, never a source."""
    return folder / "performance.parquet"
