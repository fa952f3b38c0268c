"""What a run directory holds, how much is missing, what is damaged; and how damage is thrown away."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from simtrial.errors import IncompleteRunError, RunError, StoreError
from simtrial.store.cells import read_cells
from simtrial.store.chunks import read_chunk, read_failures, stored_chunks
from simtrial.store.directory import read_run
from simtrial.store.identity import Identity, from_json
from simtrial.store.paths import (
    cells_file,
    cells_record,
    chunk_file,
    failures_file,
    place_of,
    record_file,
    run_file,
    stop_file,
    truth_file,
)
from simtrial.store.sealed import read_sealed
from simtrial.store.truths import mark, read_truth, truth_files


@dataclass(frozen=True)
class Damage:
    """One thing that is wrong: what, and the files that belong to it, the damaged ones and those that go with them."""

    message: str
    files: tuple[Path, ...]


def audit(folder: Path) -> list[Damage]:
    """Everything in a run directory that is not as it was written; every file is read.

    Files that belong to no run are among it: copies with names of their own, chunks of unknown cells.
    """
    found: list[Damage] = []
    identity: Identity | None = None
    try:
        identity = from_json(read_run(folder))
    except RunError as error:
        if not any((folder / name).is_dir() for name in ("records", "blocks")):
            raise
        found.append(Damage(f"{run_file(folder)}: {_without_run(error)}", ()))
    except StoreError as error:
        found.append(Damage(str(error), (run_file(folder),)))
    with suppress(IncompleteRunError):
        try:
            read_cells(folder, identity)
        except StoreError as error:
            found.append(Damage(str(error), (cells_file(folder), cells_record(folder))))
    for there, other, what in (
        (cells_record(folder), cells_file(folder), "its table is missing"),
        (cells_file(folder), cells_record(folder), "its record is missing, so that it does not count"),
    ):
        if there.is_file() and not other.is_file():
            found.append(Damage(f"{there}: {what}", (there,)))
    found += [*_truths(folder, identity), *_stops(folder, identity)]
    for cell in _cells_there(folder):
        if identity is not None and cell not in identity.cells:
            own = tuple(f for place in ("blocks", "records", "failures") for f in (folder / place / cell).rglob("*.*"))
            found.append(Damage(f"{folder / 'blocks' / cell}: no cell of this run", own))
            continue
        found += [*_of_cell(folder, cell, identity), *_orphans(folder, cell)]
    return found + [Damage(f"{file}: no file of a run", (file,)) for file in _strays(folder)]


def _without_run(error: RunError) -> str:
    """What is wrong with a run.json that cannot be read, and how it comes back."""
    return f"{str(error).partition(': ')[2]}; the same run command writes it again"


def _cells_there(folder: Path) -> list[str]:
    places = [folder / name for name in ("blocks", "records", "failures")]
    folders = {sub for place in places if place.is_dir() for sub in place.iterdir() if sub.is_dir()}
    return sorted({sub.name for sub in folders if any(sub.iterdir())})


def _truths(folder: Path, identity: Identity | None) -> Iterator[Damage]:
    """Damage of the true values that cells.parquet was made from."""
    for cell, files in truth_files(folder).items():
        for file in files:
            try:
                stored = read_truth(file, cell, None if identity is None else identity.trials)
                if file != truth_file(folder, cell, mark(stored["estimands"])):
                    yield Damage(f"{file}: damaged, it is about other estimands than its name", (file,))
                elif identity is not None and cell not in identity.cells:
                    yield Damage(f"{file}: no cell of this run", (file,))
            except StoreError as error:
                yield Damage(str(error), (file,))


def _stops(folder: Path, identity: Identity | None) -> Iterator[Damage]:
    """Damage of the files that say after how many replicates a cell was precise enough."""
    for file in sorted((folder / "stops").glob("*.json")):
        try:
            stored = read_sealed(file) or {}
        except StoreError as error:
            yield Damage(str(error), (file,))
            continue
        other = identity is not None and stored.get("trials") != identity.trials
        if other or file != stop_file(folder, str(stored.get("cell")), str(stored.get("mark"))):
            yield Damage(f"{file}: damaged, it belongs to another cell or run", (file,))


def _of_cell(folder: Path, cell: str, identity: Identity | None) -> Iterator[Damage]:
    """Damage of the chunks of a cell, one by one."""
    for file in sorted((folder / "records" / cell).glob("*.json")):
        place = place_of(cell, file.stem)
        if place is None:
            continue
        try:
            for found in stored_chunks(folder, cell, identity, only=place):
                read_chunk(found)
                read_failures(found)
                if identity is not None and not identity.methods.keys() >= {method for method, _ in found.parts}:
                    raise StoreError(f"{file}: it holds methods that the run has not")
            if not chunk_file(folder, place).is_file():
                yield Damage(f"{file}: its chunk is missing", (file,))
        except StoreError as error:
            own = tuple(make(folder, place) for make in (chunk_file, record_file, failures_file))
            yield Damage(str(error), own)


def _orphans(folder: Path, cell: str) -> Iterator[Damage]:
    """Chunks without a record, which do not count."""
    for file in sorted((folder / "blocks" / cell).glob("*.parquet")):
        place = place_of(cell, file.stem)
        if place is not None and not record_file(folder, place).is_file():
            yield Damage(f"{file}: its record is missing, so that it does not count", (file,))


def _strays(folder: Path) -> Iterator[Path]:
    """Files in the folders of a run that are not named as ours."""
    endings = {"blocks": ".parquet", "records": ".json", "failures": ".jsonl"}
    for name, ending in endings.items():
        for file in sorted((folder / name).rglob("*")):
            if not file.is_file() or file == cells_record(folder) or file.name.endswith(".part"):
                continue
            if file.suffix != ending or place_of("", file.stem) is None or file.parent.parent != folder / name:
                yield file
    for name in ("truths", "stops"):
        for file in sorted((folder / name).rglob("*")):
            ours = file.suffix == ".json" and "-" in file.stem and file.parent == folder / name
            if file.is_file() and not ours and not file.name.endswith(".part"):
                yield file


def throw_away(damage: Sequence[Damage]) -> None:
    """Remove damaged files, so that the same command makes them again."""
    for one in damage:
        for file in one.files:
            with suppress(FileNotFoundError):
                file.unlink()
