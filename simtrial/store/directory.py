"""The run directory: what it is for (run.json), and whether a request belongs to it."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import simtrial
from simtrial import core
from simtrial.errors import RunError, StoreError
from simtrial.files.whole import read_bytes, sweep
from simtrial.plugins.recorded import renewed
from simtrial.scenario import Cell, Scenario
from simtrial.store.claims import sweep_claims
from simtrial.store.identity import (
    Identity,
    as_json,
    difference,
    digest,
    from_json,
    identity_of,
    resolved,
    simulated,
    trials_of,
)
from simtrial.store.paths import run_file
from simtrial.store.sealed import REPAIR, read_sealed, write_sealed
from simtrial.store.stock import is_complete

FORMAT = 3


def versions() -> dict[str, str]:
    """Versions that numbers may depend on."""
    found = {"simtrial": simtrial.__version__, "python": platform.python_version(), **_installed()}
    return {**found, "core": core.version()}


@cache  # reading them takes longer than a hundred replicates
def _installed() -> dict[str, str]:
    """Versions of the packages that compute."""
    return {name: metadata.version(name) for name in ("numpy", "scipy", "polars")}


def core_of(run: Mapping[str, Any], folder: Path) -> core.Core:
    """The core that goes on with a run: the one that began it, unless the user names another."""
    return core.going_on(str(run["versions"].get("core", "numpy")), folder)


def core_for(request: Mapping[str, Any], folder: Path) -> core.Core | None:
    """The core that computes what a request lacks; None where one that is not here began, and all is there by now.

    Raises
    ------
    RunError
        When something is to be computed by a core that is not here, and the user has not named another.
    """
    try:
        return core_of(request, folder)
    except RunError:
        if is_complete(folder, request):
            return None
        raise


def provenance(scenario: Scenario, trials: str) -> str:
    """What every stored table carries: scenario, seed and versions, as JSON; the same however many replicates."""
    return json.dumps({"scenario": simulated(resolved(scenario)), "trials": trials, "versions": versions()})


def open_run(
    folder: Path, scenario: Scenario, cells: Sequence[Cell], command: str, plugins: Sequence[Mapping[str, str]] = (),
    until: Mapping[str, float] | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Make a run directory, or check that an existing one draws the same trials; return the request as run.json has it.

    Replicates, methods, estimands and levels of factors may be added to a directory; a request for fewer of them than
    it holds is one for a part of it, and leaves run.json alone. Tables that say how rows are read may change.

    Raises
    ------
    RunError
        When the directory belongs to something else, or needs a core that is not here.
    """
    raw, asked = resolved(scenario), identity_of(scenario, cells)
    if folder.exists() and not folder.is_dir():
        raise RunError(f"{folder}: a file, not a folder; choose another with -o")
    if folder.is_dir():
        sweep(folder)
        sweep_claims(folder)
    if not run_file(folder).exists():
        others = [f.name for f in folder.iterdir() if not f.name.endswith(".part")] if folder.exists() else []
        if not set(others) <= OURS:
            raise RunError(f"{folder}: not empty and not a run directory; choose another with -o")
        if any(belongs != asked.trials for belongs in _records(folder)):
            raise RunError(
                f"{folder}: run.json is missing, and the results there are of another request; the command that made "
                "them makes it again"
            )
        write_sealed(run_file(folder), _described(scenario, asked, command, plugins, until), only_first=True)
    written = False
    while True:  # another process may extend the run at the same time: what is more stays
        held = read_run(folder)
        there = from_json(held)
        _refuse_another(folder, held, raw, plugins)
        if not (asked.holds(there) or there.holds(asked)):
            raise _belongs_to_another(folder, held["scenario"], raw)
        now = requested(held, scenario, asked, until)
        core_for(now, folder)
        more = _extended(held, now, plugins)
        enough = written and there.holds(asked) and held["replicates"] >= now["replicates"]
        if not asked.holds(there) or more == held or enough:
            return now
        write_sealed(run_file(folder), more)
        written = True


def _extended(held: Mapping[str, Any], now: Mapping[str, Any], plugins: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    """Content of run.json when a request for all that it holds, or for more, has been added."""
    replicates = max(now["replicates"], held["replicates"])
    raw = {**now["scenario"], "run": {**now["scenario"]["run"], "replicates": replicates}}
    return {**now, "scenario": raw, "replicates": replicates, "plugins": renewed(held["plugins"], plugins)}


def requested(
    run: Mapping[str, Any], scenario: Scenario, asked: Identity, until: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """A run.json as it would be if this request, which may be for a part of the run, were all that it is for."""
    raw = resolved(scenario)
    mine = {"scenario": raw, "digest": digest(raw), "replicates": scenario.run.replicates, "until": dict(until or {})}
    return {**run, **mine, **as_json(asked)}


def _records(folder: Path) -> Iterator[str]:
    """Scenarios that the records of a directory without run.json belong to, the damaged ones aside."""
    for file in sorted([*(folder / "records").rglob("*.json"), *(folder / "truths").glob("*.json")]):
        with suppress(StoreError):
            found = read_sealed(file)
            if found is not None:
                yield str(found.get("trials"))


OURS = frozenset({"blocks", "records", "failures", "claims", "truths", "stops", "cells.parquet", "performance.parquet",
                  "report.html"})  # fmt: skip
"""What a run directory holds beside run.json."""


def _described(
    scenario: Scenario, asked: Identity, command: str, plugins: Sequence[Mapping[str, str]],
    until: Mapping[str, float] | None,
) -> dict[str, Any]:  # fmt: skip
    """Content of run.json for a new directory; ``first_parts`` are those whose chunks have the shortest names."""
    import numpy as np

    config: Any = np.show_config(mode="dicts")
    blas = config["Build Dependencies"]["blas"]
    origin = {
        "format": FORMAT,
        "seed": scenario.run.seed,
        "versions": versions(),
        "plugins": [dict(p) for p in plugins],
    }
    origin |= {"blas": f"{blas.get('name')} {blas.get('version')}", "command": command}
    return requested({**origin, "first_parts": [list(part) for part in asked.parts]}, scenario, asked, until)


def _refuse_another(
    folder: Path, held: Mapping[str, Any], raw: dict[str, Any], plugins: Sequence[Mapping[str, str]]
) -> None:
    """Refuse a directory that belongs to other trials, another version or other plugins."""
    if held["trials"] != trials_of(raw):
        raise _belongs_to_another(folder, held["scenario"], raw)
    if held["versions"]["simtrial"] != simtrial.__version__:
        raise RunError(
            f"{folder}: made by simtrial {held['versions']['simtrial']}, this is {simtrial.__version__}; "
            "choose another directory with -o"
        )
    here = {p["sha256"] for p in renewed(held["plugins"], plugins)}
    if not {p["sha256"] for p in held["plugins"]} <= here:
        names = ", ".join(p["name"] for p in held["plugins"])
        raise RunError(f"{folder}: made with other plugins or versions of them ({names}); choose another with -o")


def _belongs_to_another(folder: Path, there: Mapping[str, Any], here: Mapping[str, Any]) -> RunError:
    words = difference(there, here)
    return RunError(f"{folder}: belongs to a different request ({words}); choose another directory with -o")


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
