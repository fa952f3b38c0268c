"""Several run directories read together: those that draw the same trials as one run, others side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from simtrial.errors import RunError
from simtrial.store.cell_rows import StoredCell
from simtrial.store.directory import read_run
from simtrial.store.identity import difference
from simtrial.store.reading import stored_cells


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Directories that are read as one run: the rows of its cells, not read yet, its cells, its description.

    ``cells`` and rows name cells apart from those of other runs beside it; ``own_cells`` are the cells as in the run.
    """

    folders: Sequence[Path]
    parts: Sequence[StoredCell]
    cells: pl.DataFrame
    own_cells: pl.DataFrame
    run: Mapping[str, Any]


def read_several(folders: Sequence[Path], partial: bool, columns: Sequence[str]) -> list[Reading]:
    """Read directories: where several draw the same trials, their blocks, methods and cells are put together."""
    alike: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for folder in dict.fromkeys(folders):
        run = read_run(folder)
        alike.setdefault(run["trials"], []).append((folder, run))
    names = _names([group[0][0] for group in alike.values()])
    return [_read(group, partial, columns, name) for group, name in zip(alike.values(), names, strict=True)]


def _names(folders: Sequence[Path]) -> list[str]:
    """Name of each run among others: its folder, as far as it tells them apart; empty for the only one."""
    if len(folders) == 1:
        return [""]
    short = [folder.resolve().name for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _read(group: Sequence[tuple[Path, dict[str, Any]]], partial: bool, columns: Sequence[str], name: str) -> Reading:
    folders = [folder for folder, _ in group]
    run = group[0][1]
    for folder, other in group[1:]:
        run = _together(run, other, folder)
    parts, own, run = stored_cells(folders, partial, columns, run)
    if not name:
        return Reading(folders=folders, parts=parts, cells=own, own_cells=own, run=run)
    apart = pl.lit(f"{name}:") + pl.col("cell").cast(pl.String)
    factors = [json.dumps({"run": name, **json.loads(text)}) for text in own["factors"]]
    cells = own.with_columns(apart.alias("cell"), pl.Series("factors", factors, dtype=pl.String))
    renamed = [part.among_others(f"{name}:{part.cell}") for part in parts]
    return Reading(folders=folders, parts=renamed, cells=cells, own_cells=own, run=run)


def _together(run: Mapping[str, Any], other: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Description of two runs of the same trials as one.

    Raises
    ------
    RunError
        When they mean different things by the name of a method or estimand.
    """
    for table in ("methods", "estimands"):
        if any(run[table].get(name, digest) != digest for name, digest in other[table].items()):
            words = difference(run["scenario"], other["scenario"])
            raise RunError(f"{folder}: cannot be put together with the first run ({words}; 'here' is {folder})")
    parts = {(method, estimand): digest for method, estimand, digest in [*run["parts"], *other["parts"]]}
    tables = {name: {**run[name], **other[name]} for name in ("methods", "estimands")}
    cells = {cell: max(run["cells"].get(cell, {}), varied, key=len) for cell, varied in other["cells"].items()}
    tables["cells"] = {**run["cells"], **cells}
    more = [m for m in other["scenario"]["methods"] if m["name"] not in run["methods"]]
    scenario = {**run["scenario"], "methods": [*run["scenario"]["methods"], *more]}
    return {
        **run, **tables, "parts": [[*part, digest] for part, digest in parts.items()], "scenario": scenario,
        "replicates": max(run["replicates"], other["replicates"]), "until": run["until"] or other["until"],
    }  # fmt: skip
