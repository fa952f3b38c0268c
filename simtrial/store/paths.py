"""Names of the files in a run directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CHUNK = re.compile(r"(\d{6,})-(\d{6,})(?:-([0-9a-f]{8}))?")


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


@dataclass(frozen=True, order=True)
class Place:
    """Where a chunk is stored: its cell, its blocks, both ends included, and the mark of its parts.

    The mark is empty for the parts that the run was begun with; chunks of other parts bear one.
    """

    cell: str
    first: int
    last: int
    mark: str = ""

    @property
    def name(self) -> str:
        """Name of its files without an ending."""
        return f"{self.first:06d}-{self.last:06d}" + (f"-{self.mark}" if self.mark else "")


def chunk_file(folder: Path, place: Place) -> Path:
    """Rows of a chunk."""
    return blocks(folder, place.cell) / f"{place.name}.parquet"


def record_file(folder: Path, place: Place) -> Path:
    """Record of a chunk."""
    return records(folder, place.cell) / f"{place.name}.json"


def failures_file(folder: Path, place: Place) -> Path:
    """What failed in a chunk, one line of JSON for each failure."""
    return folder / "failures" / place.cell / f"{place.name}.jsonl"


def truth_file(folder: Path, cell: str, mark: str) -> Path:
    """True values of some estimands in a cell."""
    return folder / "truths" / f"{cell}-{mark}.json"


def stop_file(folder: Path, cell: str, mark: str) -> Path:
    """Replicates after which a cell was precise enough."""
    return folder / "stops" / f"{cell}-{mark}.json"


def claim_file(folder: Path, cell: str, name: str) -> Path:
    """Sign that a process is at work on something of a cell; it may outlive the process, and then counts no more."""
    return folder / "claims" / f"{cell}-{name}"


def place_of(cell: str, name: str) -> Place | None:
    """Place of a chunk by the name of its files without ending, None if it is not one of ours."""
    found = _CHUNK.fullmatch(name)
    if found is None:
        return None
    place = Place(cell, int(found[1]), int(found[2]), found[3] or "")
    return place if place.name == name and place.first <= place.last else None


def report_file(folder: Path) -> Path:
    """The page of a run."""
    return folder / "report.html"


def performance_file(folder: Path) -> Path:
    """Performance as last summarised; made from the rows, never a source."""
    return folder / "performance.parquet"


def is_empty(folder: Path) -> bool:
    """Whether no chunk of any cell is recorded."""
    return not any((folder / "records").glob("*/*.json"))
