"""The run directory: its record, its blocks, and reading its rows."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import polars as pl

import simtrial
from simtrial.errors import IncompleteRunError, RunError, StoreError
from simtrial.results import bind, read_chunk, read_record, write_json
from simtrial.scenario import Scenario

FORMAT = 1


def blocks(folder: Path, cell: str) -> Path:
    """Folder of a cell's chunks."""
    return folder / "blocks" / cell


def versions() -> dict[str, str]:
    """Versions that numbers may depend on."""
    found = {name: metadata.version(name) for name in ("numpy", "scipy", "polars")}
    return {"simtrial": simtrial.__version__, "python": platform.python_version(), **found}


READING = ("title", "aims", "design", "performance", "published", "expect")
"""Tables that affect how rows are summarised, not their content: they may change in an existing directory."""


def digest(raw: dict[str, Any]) -> str:
    """Identity of what a scenario simulates and analyses, however many replicates and however it is read."""
    kept = {k: v for k, v in raw.items() if k != "run" and k not in READING}
    kept["run"] = {k: v for k, v in raw.get("run", {}).items() if k != "replicates"}
    text = json.dumps(kept, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def resolved(scenario: Scenario) -> dict[str, Any]:
    """The file a run belongs to, its seed and replicates written out."""
    return {**scenario.raw, "run": scenario.run.model_dump()}


def provenance(scenario: Scenario) -> str:
    """What every stored table carries: scenario, seed and versions, as JSON."""
    raw = resolved(scenario)
    return json.dumps({"scenario": raw, "digest": digest(raw), "versions": versions()})


def open_run(folder: Path, scenario: Scenario, command: str, plugins: Sequence[Mapping[str, str]] = ()) -> None:
    """Make a run directory, or check that an existing one belongs to the same scenario and seed.

    The number of replicates asked for may grow, and tables that say how rows are read may change; nothing else in
    run.json is ever replaced.

    Raises
    ------
    RunError
        When the directory belongs to something else.
    """
    file = folder / "run.json"
    raw = resolved(scenario)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, not a folder; choose another with -o")
    if not file.exists():
        if folder.exists() and any(not f.name.endswith(".part") for f in folder.iterdir()):
            raise RunError(f"{folder}: not empty and not a run directory; choose another with -o")
        import numpy as np

        config: Any = np.show_config(mode="dicts")
        blas = config["Build Dependencies"]["blas"]
        said = {
            "format": FORMAT,
            "scenario": raw,
            "digest": digest(raw),
            "replicates": scenario.run.replicates,
            "seed": scenario.run.seed,
            "versions": versions(),
            "plugins": [dict(p) for p in plugins],
            "blas": f"{blas.get('name')} {blas.get('version')}",
            "command": command,
        }
        write_json(file, said)
        return
    held = read_run(folder)
    if held["digest"] != digest(raw):
        told = _difference(held["scenario"], raw)
        raise RunError(f"{folder}: belongs to a different request ({told}); choose another directory with -o")
    if held["versions"]["simtrial"] != simtrial.__version__:
        raise RunError(
            f"{folder}: made by simtrial {held['versions']['simtrial']}, this is {simtrial.__version__}; "
            "choose another directory with -o"
        )
    before, here = ([p["sha256"] for p in found] for found in (held["plugins"], plugins))
    if before != here:
        names = ", ".join(p["name"] for p in held["plugins"]) or "none"
        raise RunError(f"{folder}: made with other plugins or versions of them ({names}); choose another with -o")
    replicates = max(scenario.run.replicates, held["replicates"])
    now = {**raw, "run": {**raw["run"], "replicates": replicates}}
    if now != held["scenario"]:
        write_json(file, {**held, "scenario": now, "replicates": replicates})


def _difference(a: Any, b: Any, path: str = "") -> str:
    """First place where two resolved files differ."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in dict.fromkeys([*a, *b]):
            reading = (path, key) == ("run.", "replicates") or (path == "" and key in READING)
            if not reading and a.get(key) != b.get(key):
                return _difference(a.get(key), b.get(key), f"{path}{key}.")
    if isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            return f"{path.rstrip('.')} has {len(a)} entries there and {len(b)} here"
        for at, (x, y) in enumerate(zip(a, b, strict=True)):
            if x != y:
                return _difference(x, y, f"{path.rstrip('.')}[{at + 1}].")
    return f"{path.rstrip('.')} is {a!r} there and {b!r} here"


def read_run(folder: Path) -> dict[str, Any]:
    """Read run.json of a run directory."""
    file = folder / "run.json"
    if not file.is_file():
        raise RunError(f"{folder}: not a run directory (no run.json)")
    try:
        found = json.loads(file.read_text())
    except ValueError:
        raise StoreError(f"{file}: damaged, it is not JSON") from None
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise RunError(f"{file}: this version cannot read its format")
    return found


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


def read_rows(folder: Path, partial: bool = False) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Read a run back whole.

    Returns
    -------
    rows, cells, run
        Rows of the replicates asked for (surplus of the last block cut), cells.parquet, and run.json.

    Raises
    ------
    IncompleteRunError
        When blocks are missing and ``partial`` is false.
    """
    parts, cells, run = read_cells(folder, partial)
    return bind([part.sort("replicate", maintain_order=True) for part in parts]), cells, run


SUMMARISED = ("cell", "replicate", "method", "estimand", "estimate", "std_error", "ci_lower", "ci_upper", "p_value",
              "status", "flags", "own_true_value", "ci_type")  # fmt: skip
"""Columns that performance is made from; the last two only where trials have true values of their own, or confidence
sets are not all intervals."""


def read_cells(
    folder: Path, partial: bool = False, columns: Sequence[str] | None = None
) -> tuple[Iterator[pl.DataFrame], pl.DataFrame, dict[str, Any]]:
    """Read a run back cell by cell, so that no more than one is in memory; otherwise as `read_rows`."""
    run = read_run(folder)
    cells_file = folder / "cells.parquet"
    if not cells_file.is_file():
        raise IncompleteRunError(f"{folder}: no true values yet; run the same command again")
    try:
        cells = pl.read_parquet(cells_file)
    except (pl.exceptions.PolarsError, OSError) as error:
        told = str(error).splitlines()[0]
        raise StoreError(f"{cells_file}: damaged ({told}); delete it and run the same command again") from None
    wanted = -(-run["replicates"] // run["scenario"]["run"]["block"])
    found = {cell: chunk_files(folder, cell) for cell in cells["cell"].unique(maintain_order=True)}
    held = [len({b for first, last, _ in files for b in range(first, last + 1) if b < wanted})
            for files in found.values()]  # fmt: skip
    total = wanted * len(found)
    if sum(held) < total and not partial:
        raise IncompleteRunError(
            f"{folder}: {total - sum(held)} of {total} blocks are missing; run the same command again, or summarise "
            "with --partial"
        )
    if not sum(held):
        raise IncompleteRunError(f"{folder}: no block is finished yet")
    return (_cell_rows(f, wanted, run, columns) for f, n in zip(found.values(), held, strict=True) if n), cells, run


def _cell_rows(
    files: Sequence[tuple[int, int, Path]], wanted: int, run: dict[str, Any], columns: Sequence[str] | None
) -> pl.DataFrame:
    """Rows of one cell, each block once; those of a method in order of replicates."""
    seen: set[int] = set()
    frames = []
    for first, last, file in files:
        new = [b for b in range(first, min(last + 1, wanted)) if b not in seen]
        if new:
            frames.append(_only_blocks(read_chunk(file, columns), new, last - first + 1, run))
            seen |= set(new)
    return bind(frames)


def _only_blocks(frame: pl.DataFrame, wanted: list[int], there: int, run: dict[str, Any]) -> pl.DataFrame:
    """Drop blocks of a chunk that another chunk holds, and replicates beyond those requested."""
    size, replicates = run["scenario"]["run"]["block"], run["replicates"]
    if len(wanted) == there and (wanted[-1] + 1) * size <= replicates:
        return frame
    return frame.filter(((pl.col("replicate") - 1) // size).is_in(wanted) & (pl.col("replicate") <= replicates))
