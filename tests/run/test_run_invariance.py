"""Identical rows whatever the engine, the number of workers, the chunks, or how often a run was extended."""

import random
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from runs import chunks, go, quick, rows
from tomls import SMALL

from simtrial.run.block import block_rows
from simtrial.run.engines import Engine, engine, engine_names
from simtrial.scenario import Cell, load

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
SWEEP = SMALL + '\n[vary.cross]\n"mechanism.outcomes.mansa.icc" = [0.0, 0.1]\n'


@pytest.fixture
def expected(tmp_path: Path) -> pl.DataFrame:
    """Rows of 100 replicates by 3 methods, run in one go."""
    go(tmp_path / "whole")
    found = rows(tmp_path / "whole")
    assert found.height == 300
    assert found["estimate"].null_count() < 30
    return found


def same(folder: Path, expected: pl.DataFrame) -> None:
    assert_frame_equal(rows(folder), expected, check_exact=True)


@pytest.mark.parametrize("size", [1, 40, 60, 1000])
def test_the_size_of_chunks(size: int, tmp_path: Path) -> None:
    outcome = go(tmp_path / "run", chunk_replicates=size)
    assert outcome.chunks == len(chunks(tmp_path / "run")) == {1: 5, 40: 3, 60: 2, 1000: 1}[size]


def shuffled(function: Callable[[Any], Any], tasks: Iterable[Any], workers: int) -> Iterator[tuple[Any, Any]]:
    """Engine that takes the tasks in another order."""
    every = list(tasks)
    random.Random(len(every)).shuffle(every)
    yield from engine("serial")(function, every, workers)


WAYS: dict[str, list[dict[str, Any]]] = {
    **{f"chunks of {size}": [{"chunk_replicates": size}] for size in (1, 40, 60, 1000)},
    **{f"processes, {n} workers": [{"engine_name": "processes", "workers": n}] for n in (1, 2, 3)},
    **{f"dask, {n} workers": [{"engine_name": "dask", "workers": n}] for n in (1, 3)},
    **{f"{n} shards": [{"shard": (part, n)} for part in range(n, 0, -1)] for n in (1, 3, 7)},
    "resumed": [{"replicates": n, "chunk_replicates": 40} for n in (20, 50, 100)],
    "shuffled": [{"engine_name": shuffled}],
    "extended by processes": [{"replicates": 40}, {"engine_name": "processes", "workers": 2}],
    "extended by dask": [{"replicates": 40}, {"engine_name": "dask", "workers": 2, "chunk_replicates": 60}],
    "shards by dask and others": [{"shard": (1, 2), "engine_name": "dask", "workers": 2}, {"shard": (2, 2)}],
}
"""Ways to the same 100 replicates, each a list of runs on one directory."""


@pytest.mark.parametrize(
    "way",
    [pytest.param(way, marks=[pytest.mark.verify, pytest.mark.slow] if "dask" in way else []) for way in WAYS],
)
def test_rows_are_the_same(way: str, called: Callable[..., Engine], tmp_path: Path, expected: pl.DataFrame) -> None:
    for run in WAYS[way]:
        how = {**run, "engine_name": run.get("engine_name", "serial")}
        if how["engine_name"] == "dask":
            how["engine_name"] = called("dask", how["workers"])
        go(tmp_path / "run", how.pop("replicates", None), **how)
    same(tmp_path / "run", expected)


def test_every_engine_is_among_the_ways() -> None:
    used = {run.get("engine_name", "serial") for runs in WAYS.values() for run in runs}
    assert set(engine_names()) <= used


def test_the_first_replicates_of_a_longer_run(tmp_path: Path, expected: pl.DataFrame) -> None:
    go(tmp_path / "run", 30)
    same(tmp_path / "run", expected.filter(pl.col("replicate") <= 30))


def test_replicates_beyond_the_last_asked_for_are_cut_when_read(tmp_path: Path) -> None:
    go(tmp_path / "run", 30)
    _, second = chunks(tmp_path / "run")
    assert pl.read_parquet(second)["replicate"].max() == 40
    assert rows(tmp_path / "run")["replicate"].max() == 30
    assert rows(tmp_path / "run").height == 90


def test_asking_for_fewer_keeps_what_there_is(tmp_path: Path, expected: pl.DataFrame) -> None:
    go(tmp_path / "run", 100)
    outcome = go(tmp_path / "run", 20)
    assert outcome.chunks == 0
    same(tmp_path / "run", expected)


def test_chunks_that_overlap_count_once(tmp_path: Path, expected: pl.DataFrame) -> None:
    """Two processes that cut the work differently may both have written a block."""
    go(tmp_path / "run", chunk_replicates=20)
    go(tmp_path / "other", chunk_replicates=60)
    for file in (tmp_path / "other" / "blocks" / "base").iterdir():
        shutil.copy(file, tmp_path / "run" / "blocks" / "base" / file.name)
    assert len(chunks(tmp_path / "run")) == 7
    same(tmp_path / "run", expected)


def test_cells_of_a_sweep_do_not_depend_on_each_other(tmp_path: Path, expected: pl.DataFrame) -> None:
    """The base cell of a sweep is the scenario run alone."""
    go(tmp_path / "run", text=SWEEP, engine_name="processes", workers=2)
    found = rows(tmp_path / "run")
    assert found["cell"].n_unique() == 2
    assert_frame_equal(found.filter(pl.col("cell") == "base"), expected, check_exact=True)
    other = found.filter(pl.col("cell") != "base")
    assert not other["estimate"].equals(expected["estimate"])


def test_common_streams_pair_the_cells(tmp_path: Path) -> None:
    """The same practices, sizes and noise: estimates of ICC 0 and 0.1 correlate; independent ones do not.

    Of 100 independent pairs a correlation beyond 0.5 has probability 1e-7.
    """
    correlation = {}
    for streams in ("common", "independent"):
        go(tmp_path / streams, text=SWEEP, sets=(f"run.streams={streams}",))
        found = rows(tmp_path / streams).filter(pl.col("method") == "mixed model").sort("cell", "replicate")
        a, b = (g["estimate"] for _, g in found.group_by("cell", maintain_order=True))
        correlation[streams] = pl.DataFrame({"a": a, "b": b}).select(pl.corr("a", "b")).item()
    assert correlation["common"] > 0.8
    assert abs(correlation["independent"]) < 0.5


@pytest.mark.parametrize("name", ["mixed model", "two-stage least squares", "imputed"])
def test_a_method_does_not_depend_on_the_others(name: str, tmp_path: Path, expected: pl.DataFrame) -> None:
    _, (cell,) = load(str(tmp_path / "whole.toml"))
    methods = [m for m in cell.scenario.methods if m.name == name]
    alone = Cell(cell.id, cell.key, cell.factors, replace(cell.scenario, methods=methods))
    found = block_rows(alone, 2)
    wanted = expected.filter((pl.col("method") == name) & pl.col("replicate").is_between(41, 60))
    assert_frame_equal(found, wanted.select(found.columns), check_exact=True)


def test_another_seed_gives_other_rows(tmp_path: Path, expected: pl.DataFrame) -> None:
    go(tmp_path / "run", sets=("run.seed=6",))
    found = rows(tmp_path / "run")
    assert not set(found["estimate"].drop_nulls()) & set(expected["estimate"].drop_nulls())


def test_a_folder_used_again_within_one_process_holds_the_new_scenario(tmp_path: Path, expected: pl.DataFrame) -> None:
    go(tmp_path / "run", 20, sets=("run.seed=6",))
    shutil.rmtree(tmp_path / "run")
    go(tmp_path / "run")
    same(tmp_path / "run", expected)
