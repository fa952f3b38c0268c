"""Runs of the small scenario, and their rows."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tomls import SMALL, written

from simtrial.estimands import values
from simtrial.run.loop import Outcome, run
from simtrial.scenario import load
from simtrial.store.reading import read_rows


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """True values from 2,000 practices: quick, and the same in every run that is compared."""
    monkeypatch.setattr(values, "PRACTICES", 2000)


def go(
    folder: Path, replicates: int | None = None, *, text: str = SMALL, sets: tuple[str, ...] = (), **how: Any
) -> Outcome:
    """Run a scenario into a folder, 20 replicates to a chunk unless said otherwise."""
    file = written(folder.parent, text, f"{folder.name}.toml")
    extra = [f"run.replicates={replicates}"] if replicates else []
    scenario, cells = load(file, [*sets, *extra])
    return run(scenario, cells, folder, **{"chunk_replicates": 20, **how})


def rows(folder: Path, partial: bool = False) -> pl.DataFrame:
    return read_rows(folder, partial)[0]


def chunks(folder: Path) -> list[Path]:
    """Stored chunks, in order."""
    return sorted((folder / "blocks").rglob("*.parquet"))


def record(chunk: Path) -> Path:
    """Record of a stored chunk."""
    return chunk.parents[2] / "records" / chunk.parent.name / f"{chunk.stem}.json"


def drop(chunk: Path) -> None:
    """Remove a chunk and its record."""
    chunk.unlink()
    record(chunk).unlink()
