"""The run directory: what it is for (run.json), and whether a request belongs to it."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import simtrial
from simtrial.errors import RunError, StoreError
from simtrial.files.whole import read_bytes, sweep
from simtrial.scenario import Scenario
from simtrial.store.paths import run_file
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed

FORMAT = 2


def versions() -> dict[str, str]:
    """Versions that numbers may depend on."""
    found = {name: metadata.version(name) for name in ("numpy", "scipy", "polars")}
    return {"simtrial": simtrial.__version__, "python": platform.python_version(), **found}


READING = ("title", "aims", "design", "performance", "published", "expect", "check", "margins")
"""Tables that affect how rows are summarised, not their content: they may change in an existing directory."""


def simulated(raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a scenario simulates and analyses, however many replicates and however it is read."""
    kept = {k: v for k, v in raw.items() if k != "run" and k not in READING}
    return {**kept, "run": {k: v for k, v in raw.get("run", {}).items() if k != "replicates"}}


def digest(raw: Mapping[str, Any]) -> str:
    """Identity of what a scenario simulates and analyses."""
    text = json.dumps(simulated(raw), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def resolved(scenario: Scenario) -> dict[str, Any]:
    """The file a run belongs to, its seed and replicates written out."""
    return {**scenario.raw, "run": scenario.run.model_dump()}


def provenance(scenario: Scenario) -> str:
    """What every stored table carries: scenario, seed and versions, as JSON; the same however many replicates."""
    raw = resolved(scenario)
    return json.dumps({"scenario": simulated(raw), "digest": digest(raw), "versions": versions()})


def open_run(folder: Path, scenario: Scenario, command: str, plugins: Sequence[Mapping[str, str]] = ()) -> None:
    """Make a run directory, or check that an existing one belongs to the same scenario and seed.

    The number of replicates asked for may grow, and tables that say how rows are read may change; nothing else in
    run.json is ever replaced.

    Raises
    ------
    RunError
        When the directory belongs to something else.
    """
    raw = resolved(scenario)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, not a folder; choose another with -o")
    if folder.is_dir():
        sweep(folder)
    if not run_file(folder).exists():
        others = [f.name for f in folder.iterdir() if not f.name.endswith(".part")] if folder.exists() else []
        if not set(others) <= OURS:
            raise RunError(f"{folder}: not empty and not a run directory; choose another with -o")
        if any(belongs != digest(raw) for belongs in _records(folder)):
            raise RunError(
                f"{folder}: run.json is missing, and the results there are of another request; the command that made "
                "them makes it again"
            )
        write_sealed(run_file(folder), _described(scenario, command, plugins))
        return
    held = read_run(folder)
    _refuse_another(folder, held, raw, plugins)
    while True:  # another process may extend the run at the same time: the larger number stays
        replicates = max(scenario.run.replicates, held["replicates"])
        now = {**raw, "run": {**raw["run"], "replicates": replicates}}
        if now == held["scenario"]:
            return
        write_sealed(run_file(folder), {**held, "scenario": now, "replicates": replicates})
        held = read_run(folder)
        if held["replicates"] >= replicates:
            return


def _records(folder: Path) -> Iterator[str]:
    """Scenarios that the records of a directory without run.json belong to, the damaged ones aside."""
    for file in sorted((folder / "records").rglob("*.json")):
        with suppress(StoreError):
            found = read_sealed(file)
            if found is not None:
                yield str(found.get("scenario"))


OURS = frozenset({"blocks", "records", "failures", "claims", "cells.parquet", "performance.parquet"})
"""What a run directory holds beside run.json."""


def _described(scenario: Scenario, command: str, plugins: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Content of run.json for a new directory."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    raw = resolved(scenario)
    return {
        "format": FORMAT, "scenario": raw, "digest": digest(raw), "replicates": scenario.run.replicates,
        "seed": scenario.run.seed, "versions": versions(), "plugins": [dict(p) for p in plugins],
        "blas": f"{blas.get('name')} {blas.get('version')}", "command": command,
    }  # fmt: skip


def _refuse_another(
    folder: Path, held: Mapping[str, Any], raw: dict[str, Any], plugins: Sequence[Mapping[str, str]]
) -> None:
    """Refuse a directory that belongs to another scenario, version or other plugins."""
    if held["digest"] != digest(raw):
        difference = _difference(held["scenario"], raw)
        raise RunError(f"{folder}: belongs to a different request ({difference}); choose another directory with -o")
    if held["versions"]["simtrial"] != simtrial.__version__:
        raise RunError(
            f"{folder}: made by simtrial {held['versions']['simtrial']}, this is {simtrial.__version__}; "
            "choose another directory with -o"
        )
    before, here = ([p["sha256"] for p in found] for found in (held["plugins"], plugins))
    if before != here:
        names = ", ".join(p["name"] for p in held["plugins"]) or "none"
        raise RunError(f"{folder}: made with other plugins or versions of them ({names}); choose another with -o")


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


def _other_format(content: bytes) -> bool:
    """Whether this is the description of a run by an earlier version, which carried no seal."""
    try:
        found = json.loads(content)
    except ValueError:
        return False
    return isinstance(found, dict) and isinstance(found.get("format"), int) and found["format"] != FORMAT


def read_run(folder: Path) -> dict[str, Any]:
    """Read run.json of a run directory.

    Raises
    ------
    RunError
        When there is none, or one of another version's format.
    StoreError
        When it is not as it was written.
    """
    file = run_file(folder)
    content = read_bytes(file)
    if content is None:
        raise RunError(f"{folder}: not a run directory (no run.json)")
    if b'"seal": ' not in content and _other_format(content):
        raise RunError(f"{file}: this version cannot read its format; choose another directory with -o")
    found = read_sealed(file)
    if found is None or found.get("digest") != digest(found["scenario"]):
        raise StoreError(f"{file}: damaged, its scenario is not the one that it names; {REPAIR}")
    return found
