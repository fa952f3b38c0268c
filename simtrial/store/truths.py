"""True values as they are found: a sealed file for each cell and set of estimands, from which cells.parquet is made."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from simtrial.errors import StoreError
from simtrial.estimands import TrueValue
from simtrial.store.identity import Identity, digest_of
from simtrial.store.paths import truth_file
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


def mark(estimands: Mapping[str, str]) -> str:
    """Twelve characters for a set of estimands, given by their digests, in names of files."""
    return digest_of(dict(estimands))[:12]


def write_truth(
    folder: Path, cell: str, trials: str, estimands: Mapping[str, str], values: Sequence[TrueValue]
) -> None:
    """Store the true values of some estimands, given with their digests, in a cell."""
    numbers = [{k: None if v != v else v for k, v in asdict(value).items()} for value in values]
    content = {"cell": cell, "trials": trials, "estimands": dict(estimands), "values": numbers}
    write_sealed(truth_file(folder, cell, mark(estimands)), content)


def read_truth(file: Path, cell: str, trials: str | None) -> dict[str, Any]:
    """Content of a file of true values.

    Raises
    ------
    StoreError
        When it is not as it was written, or of another cell or run.
    """
    found = read_sealed(file)
    if found is None:
        return {"estimands": {}, "values": []}
    if found.get("cell") != cell or (trials is not None and found.get("trials") != trials):
        raise StoreError(f"{file}: damaged, it belongs to another cell or run; {REPAIR}")
    return found


def truth_files(folder: Path) -> dict[str, list[Path]]:
    """Files of true values by cell."""
    found: dict[str, list[Path]] = {}
    for file in sorted((folder / "truths").glob("*-*.json")):
        found.setdefault(file.stem.rpartition("-")[0], []).append(file)
    return found


def read_truths(folder: Path, identity: Identity, files: Iterable[Path], cell: str) -> dict[str, TrueValue]:
    """True values of a request's estimands that are stored for a cell, by name."""
    found: dict[str, TrueValue] = {}
    for file in files:
        stored = read_truth(file, cell, identity.trials)
        for row in stored["values"]:
            name = row["estimand"]
            if identity.estimands.get(name) == stored["estimands"].get(name):
                value, error = (float("nan") if row[key] is None else row[key] for key in ("value", "mcse"))
                found[name] = TrueValue(name, value, error, row["practices"])
    return found
