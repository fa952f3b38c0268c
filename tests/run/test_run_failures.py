"""A method that fails costs its own rows and nothing else, and is written down."""

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from runs import go, quick, rows
from tomls import SMALL, changed

from simtrial import estimators
from simtrial.errors import SimtrialError
from simtrial.estimators import Method, register
from simtrial.run.engines import engine
from simtrial.store.estimate_rows import Piece

pytestmark = pytest.mark.usefixtures("quick")
__all__ = ["quick"]
EXTRA = '[[methods]]\nname = "extra"\nkind = "{kind}"\nadjust = []\n\n[run]\n'


@pytest.fixture
def raising() -> Iterator[None]:
    """A kind of method that raises, whatever it is given."""
    estimators.kinds()

    @register("raising")
    class Raising(Method):
        """Raise."""

        kind: Literal["raising"] = "raising"

        def fit(self, batch: Any, moments: Any, rng: Any, every_term: bool = False) -> Any:
            raise ZeroDivisionError("three is not a crowd")

    yield
    del estimators.METHODS.found["raising"]


def with_extra(kind: str) -> str:
    return changed("[run]\n", EXTRA.format(kind=kind))


def logged(folder: Path) -> list[dict[str, Any]]:
    files = sorted((folder / "failures").glob("*/*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


@pytest.mark.usefixtures("raising")
def test_a_method_that_raises_costs_its_own_rows(tmp_path: Path) -> None:
    outcome = go(tmp_path / "run", 60, text=with_extra("raising"))
    assert outcome.failed == ()
    go(tmp_path / "plain", 60)
    found, expected = rows(tmp_path / "run"), rows(tmp_path / "plain")
    others = found.filter(pl.col("method") != "extra")
    assert_frame_equal(others.select(expected.columns), expected, check_exact=True)
    mine = found.filter(method="extra")
    assert mine.height == 60
    assert set(mine["status"]) == {"failed"}
    assert set(mine["flags"]) == {"error"}
    assert mine["estimate"].null_count() == 60


@pytest.mark.usefixtures("raising")
def test_an_exception_is_written_down_once_per_block(tmp_path: Path) -> None:
    go(tmp_path / "run", 60, text=with_extra("raising"))
    raised = [line for line in logged(tmp_path / "run") if "error" in line]
    assert [(r["cell"], r["block"], r["method"]) for r in raised] == [("base", b, "extra") for b in range(3)]
    for line in raised:
        assert line["error"] == "ZeroDivisionError: three is not a crowd"
        assert "three is not a crowd" in line["traceback"]
        assert "Traceback" in line["traceback"]


def test_fits_that_fail_are_written_down_with_their_replicate(tmp_path: Path) -> None:
    """Two practices: a mixed model that adjusts for region has no practices left to vary."""
    text = changed('adjust = ["mansa_baseline"]', 'adjust = ["mansa_baseline", "region"]')
    text = changed("number = 12", "number = 2", text)
    go(tmp_path / "run", 40, text=text)
    failed = rows(tmp_path / "run").filter(status="failed")
    assert failed.height > 0
    assert (failed["flags"] != "").all()
    told = {(line["replicate"], line["method"]) for line in logged(tmp_path / "run") if "replicate" in line}
    assert {(r, m) for r, m in failed.select("replicate", "method").iter_rows()} <= told


def test_a_run_without_failures_keeps_no_log(tmp_path: Path) -> None:
    methods = '[[methods]]\nname = "ols"\nkind = "ols"\nadjust = []\n'
    text = f"{SMALL[: SMALL.index('[[methods]]')]}{methods}\n[run]\nblock = 20\n"
    go(tmp_path / "run", 20, text=text)
    assert set(rows(tmp_path / "run")["status"]) == {"ok"}
    assert not (tmp_path / "run" / "failures").exists()


def double_or_die(task: int) -> int:
    """Work of the engines below: 3 raises, 5 kills its process."""
    if task == 3:
        raise ValueError("three")
    if task == 5:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return 2 * task


@pytest.mark.parametrize("name", ["serial", "processes"])
def test_an_exception_is_a_result_of_the_engine(name: str) -> None:
    found = dict(engine(name)(double_or_die, [1, 2, 3, 4], 2))
    assert isinstance(found.pop(3), ValueError)
    assert found == {1: 2, 2: 4, 4: 8}


def test_a_worker_that_dies_costs_its_own_task() -> None:
    found = dict(engine("processes")(double_or_die, [1, 2, 5, 4, 6, 7], 2))
    assert "worker process died" in str(found.pop(5))
    assert found == {1: 2, 2: 4, 4: 8, 6: 12, 7: 14}


def test_an_unknown_engine_is_told() -> None:
    with pytest.raises(SimtrialError, match="unknown engine 'proceses'; did you mean 'processes'"):
        engine("proceses")


def test_a_chunk_that_fails_is_told_and_the_others_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from simtrial.run import tasks as module

    whole = module.block_pieces

    def no_third(cell: Any, block: int, *more: Any) -> list[Piece]:
        if block == 2:
            raise MemoryError("no room for block 2")
        return whole(cell, block, *more)

    monkeypatch.setattr(module, "block_pieces", no_third)
    outcome = go(tmp_path / "run")
    assert (outcome.chunks, outcome.made) == (5, 4)
    ((chunk, message),) = outcome.failed
    assert (chunk.place.first, chunk.place.last) == (2, 2)
    assert "no room for block 2" in message
    monkeypatch.undo()
    found = rows(tmp_path / "run", partial=True)
    assert np.array_equal(found["replicate"].unique().sort(), [*range(1, 41), *range(61, 101)])
