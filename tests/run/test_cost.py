"""Time is predicted by what blocks of two sizes take: with a clock that the test moves, the prediction is exact."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from runs import quick
from tomls import SMALL, written

from simtrial.run import cost as of_cost
from simtrial.run.cost import cost
from simtrial.run.sizes import sizes
from simtrial.scenario import load

__all__ = ["quick"]
ONCE, EACH = 0.5, 0.004
"""Seconds of a block, and of each of its trials with one practice."""


class Clock:
    """Seconds by which blocks move it, and nothing else."""

    def __init__(self, block_rows: Callable[..., pl.DataFrame]) -> None:
        self.now = 0.0
        self.block_rows = block_rows

    def rows(self, cell: Any, block: int) -> pl.DataFrame:
        scenario = cell.scenario
        self.now += ONCE + EACH * scenario.run.block * scenario.mechanism["practices"].number
        return self.block_rows(cell, block)

    def timed(self, work: Callable[[], Any], own: bool = False) -> tuple[float, Any]:
        begun = self.now
        found = work()
        return self.now - begun, found


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("block", [3, 5, 10, 40, 1000])
def test_what_is_spent_once_a_block_is_told_from_what_trials_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    text = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [6, 12, 24, 48]\n'
    scenario, cells = load(written(tmp_path, text), [f"run.block={block}", "run.replicates=2000"])
    clock = Clock(of_cost.block_rows)
    monkeypatch.setattr(of_cost, "block_rows", clock.rows)
    monkeypatch.setattr(of_cost, "timed", clock.timed)
    people = [size._replace(people=5.0 * size.practices) for size in sizes(cells)]
    found = cost(scenario, cells, 3.0, people)
    right = sum(-(-2000 // block) * (ONCE + EACH * block * number) for number in (6, 12, 24, 48))
    assert found.work == pytest.approx(right)
    assert found.with_workers(2) == pytest.approx(3.0 + right / 2)
    assert found.cells == 3


def test_cells_between_those_tried() -> None:
    """Sizes 10, 20, 20, 40; seconds 1, 2 and 4 at the second and third, 7: the cell of 30 takes 5."""
    people = np.array([10.0, 20.0, 20.0, 40.0, 30.0])
    assert of_cost._over_all(people, [0, 1, 2, 3], [1.0, 2.0, 4.0, 7.0]) == pytest.approx(1 + 3 + 3 + 7 + 5)


@pytest.mark.usefixtures("quick")
def test_timing_costs_a_fraction_of_a_small_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However quick blocks are; true values that are known are not found again."""
    text = SMALL + '\n[vary.cross]\n"mechanism.practices.number" = [6, 8, 10, 12, 14, 16]\n'
    scenario, cells = load(written(tmp_path, text), ["run.block=125", "run.replicates=100"])
    drawn = list[int]()
    original = of_cost.block_rows

    def rows(cell: Any, block: int) -> pl.DataFrame:
        drawn.append(cell.scenario.run.block)
        return original(cell, block)

    monkeypatch.setattr(of_cost, "block_rows", rows)
    monkeypatch.setattr(of_cost, "true_values", lambda *found: pytest.fail("found again"))
    people = [size._replace(people=5.0 * size.practices) for size in sizes(cells)]
    truths = {cell.id: (0.25, []) for cell in cells}
    found = cost(scenario, cells, 0.0, people, truths)
    assert found.work > 6 * 0.25
    assert sum(drawn) <= of_cost.SHARE * 6 * 125 + of_cost.FEW
    drawn.clear()
    monkeypatch.setattr(of_cost, "SECONDS", 60.0)
    scenario, cells = load(written(tmp_path, text), ["run.block=125", "run.replicates=100000"])
    cost(scenario, cells, 0.0, people, truths)
    assert drawn.count(125) == 3, "a large run is worth whole blocks"
