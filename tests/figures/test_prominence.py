"""Cells whose replicates a page shows: those that stand out most, by bias and coverage in Monte Carlo errors."""

from math import inf, sqrt
from pathlib import Path

import polars as pl
import pytest

from simtrial.figures.parts.material import Material, of_run
from simtrial.figures.parts.prominence import prominence
from simtrial.performance import Options


def measured(**rows: tuple[str, float | None, float | None, int]) -> pl.DataFrame:
    return pl.DataFrame(
        [(measure, *row) for measure, row in rows.items()],
        schema=["measure", "method", "value", "mcse", "n"], orient="row", strict=False,
    )  # fmt: skip


def test_the_largest_distance_counts() -> None:
    frame = measured(bias=("a", -0.3, 0.1, 400), coverage=("a", 0.9, 0.015, 400), n_estimates=("a", 400.0, None, 400))
    assert prominence(frame, Options()) == pytest.approx(0.05 / sqrt(0.95 * 0.05 / 400))
    assert prominence(frame.filter(pl.col("measure") == "bias"), Options()) == pytest.approx(3.0)
    assert prominence(frame, Options(alphas={"a": 0.1})) == pytest.approx(3.0)  # nominal .90 is met


def test_a_method_that_never_succeeds_stands_out_most() -> None:
    frame = measured(bias=("a", None, None, 0), coverage=("a", None, None, 0), n_estimates=("a", 0.0, None, 400))
    assert prominence(frame, Options()) == inf
    assert prominence(frame.filter(pl.col("measure") != "n_estimates"), Options()) == 0.0


def test_rows_are_those_of_the_cells_that_stand_out(stored: Path, material: Material) -> None:
    away = {
        str(cell): prominence(part, material.options)
        for (cell,), part in material.measured.group_by("cell", maintain_order=True)
    }
    best = sorted(away, key=lambda cell: -away[cell])
    assert len(best) == 4
    for most in (1, 2, 3):
        rows = of_run(stored, most=most).rows
        shown = rows["cell"].cast(pl.String).unique(maintain_order=True).to_list()
        assert shown == [cell for cell in away if cell in best[:most]]  # in the order of the scenario
