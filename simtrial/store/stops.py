"""After how many replicates each cell of a run ended whose number depends on its precision."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from simtrial.errors import StoreError
from simtrial.store.identity import digest_of, from_json
from simtrial.store.paths import stop_file
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed


def stop_mark(run: Mapping[str, Any]) -> str:
    """Twelve characters for what decides when a cell ends: precision wanted, most replicates, and methods."""
    parts = sorted(map(list, from_json(run).parts.items()), key=str)
    return digest_of([run["until"], run["replicates"], parts])[:12]


def write_stop(folder: Path, run: Mapping[str, Any], cell: str, replicates: int, missed: list[str]) -> None:
    """Store where a cell ended; ``missed`` are the measures that were still too uncertain at the most replicates."""
    mark = stop_mark(run)
    content = {"cell": cell, "mark": mark, "trials": run["trials"], "replicates": replicates, "missed": missed}
    write_sealed(stop_file(folder, cell, mark), {**content, "until": run["until"], "most": run["replicates"]})


def read_stop(folder: Path, run: Mapping[str, Any], cell: str) -> dict[str, Any] | None:
    """Where a cell ended, None if it has not."""
    file = stop_file(folder, cell, stop_mark(run))
    found = read_sealed(file)
    if found is not None and (found.get("cell"), found.get("trials")) != (cell, run["trials"]):
        raise StoreError(f"{file}: damaged, it belongs to another cell or run; {REPAIR}")
    return found


def wanted_replicates(folder: Path, run: Mapping[str, Any]) -> dict[str, int]:
    """Replicates of every cell of a request: those asked for, or fewer where precision was reached before."""
    if not run.get("until"):
        return dict.fromkeys(run["cells"], run["replicates"])
    stops = {cell: read_stop(folder, run, cell) for cell in run["cells"]}
    return {cell: run["replicates"] if stop is None else stop["replicates"] for cell, stop in stops.items()}
