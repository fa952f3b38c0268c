"""A method that draws has a stream of its own in every block of every cell."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
from tomls import SMALL, written

from simtrial import estimators
from simtrial.estimators import Estimates, Method, register
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, load


@pytest.fixture
def cells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Cell]]:
    """Two cells, and two methods whose estimates are the first numbers of their streams."""
    estimators.kinds()

    @register("drawing")
    class Drawing(Method):
        """Report the uniforms drawn."""

        draws = True
        kind: Literal["drawing"] = "drawing"

        def fit(self, batch: Any, moments: Any, rng: Any, every_term: bool = False) -> Estimates:
            trials = batch.index.trials
            drawn, one = rng.random((1, trials)), np.ones((1, trials))
            fine, none = np.zeros(trials, dtype=bool), np.zeros(trials, dtype=np.int64)
            return Estimates(
                terms=("arm",), estimate=drawn, std_error=one, df=one, ci_lower=drawn - 1, ci_upper=drawn + 1,
                p_value=one, failed=fine, flags=none, n_used=one[0], clusters_used=one[0],
            )  # fmt: skip

    methods = "".join(f'[[methods]]\nname = "{name}"\nkind = "drawing"\nadjust = []\n\n' for name in ("a", "b"))
    text = SMALL[: SMALL.index("[[methods]]")] + methods + SMALL[SMALL.index("[run]") :]
    sweep = '\n[vary.cross]\n"mechanism.outcomes.mansa.icc" = [0.1, 0.2]\n'
    yield load(written(tmp_path_factory.mktemp("streams"), text + sweep))[1]
    del estimators.METHODS.found["drawing"]


def drawn(cell: Cell, block: int, name: str) -> list[float]:
    return block_rows(cell, block).filter(method=name)["estimate"].to_list()


def test_blocks_cells_and_methods_draw_different_numbers(cells: list[Cell]) -> None:
    places = [(cell, block, name) for cell in cells for block in (0, 1, 2) for name in ("a", "b")]
    values = [x for place in places for x in drawn(*place)]
    assert len(values) == 12 * 20
    assert len(set(values)) == len(values)


def test_the_same_place_draws_the_same_numbers(cells: list[Cell]) -> None:
    assert drawn(cells[0], 2, "a") == drawn(cells[0], 2, "a")


def test_the_order_of_methods_does_not_matter(cells: list[Cell]) -> None:
    scenario = cells[0].scenario
    turned = replace(cells[0], scenario=replace(scenario, methods=scenario.methods[::-1]))
    assert drawn(turned, 1, "a") == drawn(cells[0], 1, "a")


def test_draws_of_methods_are_not_those_of_the_trial(cells: list[Cell]) -> None:
    """More draws by a method change no trial."""
    from simtrial.generate import STAGES
    from simtrial.seeding import stream

    methods = stream(5, "", 0, "method:a").random(5)
    assert all(not np.any(methods == stream(5, "", 0, stage).random(5)) for stage in STAGES)
