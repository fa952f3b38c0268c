"""Plug-ins of a stored run, loaded again: wherever the command stands, and only with the source of the run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simtrial.errors import RunError
from simtrial.plugins.load import is_loaded, load_plugins, loaded_files
from simtrial.plugins.source import digest_of_source

Record = Mapping[str, str]
"""A plug-in as run.json has it: ``name`` as the user gave it, ``file``, and ``sha256`` of its source."""


def load_recorded(records: Sequence[Record], warn: Callable[[str], object] | None = None) -> None:
    """Load the plug-ins of a run.

    One that is loaded already, from wherever and by whatever name, is taken where its source is that of the run. Else
    it is looked for below the working directory (a project that was moved), and then where it was. ``warn`` is called
    with changed source where this is no reason to refuse.

    Raises
    ------
    RunError
        When one is gone, or its source is not that of the run.
    """
    for record in records:
        if not is_loaded(record["sha256"]) and not any(is_source_of(record, file) for file in loaded_files()):
            _load(record, warn)


def is_source_of(record: Record, file: Path) -> bool:
    """Whether a file holds the source of a recorded plug-in, wherever it stands and by whatever name it was loaded."""
    return digest_of_source(file, "" if _is_file(record) else record["name"]) == record["sha256"]


def renewed(held: Sequence[Record], now: Sequence[Record]) -> list[dict[str, str]]:
    """Plug-ins of a run that are loaded from elsewhere: as they are recorded, with the file that they are in now."""
    records = []
    for one in now:
        same = next((old for old in held if is_source_of(old, Path(one["file"]))), None)
        records.append({**(same or one), "file": one["file"]})
    return records


def refuse_changed(records: Sequence[Record]) -> None:
    """Refuse source that is not that of the run, without loading it; what is gone cannot have changed."""
    for record in records:
        _unchanged(record)


def _load(record: Record, warn: Callable[[str], object] | None) -> None:
    try:
        file = _unchanged(record)
    except RunError as error:
        if warn is None:
            raise
        warn(str(error))
        file = _places(record)[0]
    if not _is_file(record):
        if file is not None:
            _search_first(os.getcwd())
            _search_first(str(_root(file, record["name"])))
        if load_plugins([record["name"]])[0]["sha256"] != record["sha256"] and warn is None:
            raise _changed(record)
    elif file is None:
        here = "" if Path(record["name"]).is_absolute() else f", nor '{record['name']}' here"
        raise RunError(f"--plugin {record['name']}: no file {record['file']} any more{here}; the run needs it")
    else:
        load_plugins([str(file)])


def _unchanged(record: Record) -> Path | None:
    """File whose source is that of the run, None if there is no file at all."""
    there = _places(record)
    same = next((file for file in there if is_source_of(record, file)), None)
    if same is None and there:
        raise _changed(record)
    return same


def _changed(record: Record) -> RunError:
    return RunError(f"--plugin {record['name']}: its source has changed since the run was begun")


def _is_file(record: Record) -> bool:
    """Whether it is named by the path of a file, rather than as package.module."""
    return record["name"].endswith(".py")


def _places(record: Record) -> list[Path]:
    """Files that may be the plug-in: by its name below the working directory, where it was, by the end of its path."""
    here, was = Path(record["name"]), Path(record["file"])
    if not _is_file(record):
        inside = Path(*record["name"].split("."))
        here = inside / "__init__.py" if was.name == "__init__.py" else inside.with_suffix(".py")
    fewest = 1 if _is_file(record) else len(here.parts)
    ends = [Path(*was.parts[-parts:]) for parts in range(len(was.parts) - 1, fewest - 1, -1)]
    found = [file.resolve() for file in (here, was, *ends) if file.is_file()]
    return list(dict.fromkeys(found))


def _root(file: Path, module: str) -> Path:
    """Folder from which a module is imported."""
    parts = len(module.split(".")) + (file.name == "__init__.py")
    return file.parents[parts - 1]


def _search_first(folder: str) -> None:
    if folder not in sys.path:
        sys.path.insert(0, folder)
