"""The scenario partners-full: every further analysis of the paper runs on the trials of partners."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from simtrial.generate import simulate
from simtrial.run.block import block_rows
from simtrial.scenario import load

TUS = "tus_baseline < 150 and tus_followup < 150"


@pytest.fixture(scope="module")
def cell():
    scenario, cells = load("partners-full")
    return replace(cells[0], scenario=replace(scenario, run=scenario.run.model_copy(update={"block": 60})))


@pytest.fixture(scope="module")
def rows(cell):
    return block_rows(cell, 0)


def test_every_method_fits_every_trial(rows):
    """But for the few practices followed up before the pandemic, where a region may have one arm only."""
    failed = rows.filter(pl.col("status") == "failed")
    assert set(failed["method"]) <= {f"{name}, before the pandemic, full" for name in ("MANSA", "time use")}
    assert failed.height <= 12  # of 120; 1 in 100 in a run of 1,000


def test_the_paper_s_analyses_are_all_there(rows):
    names = set(rows["method"])
    assert len(names) == 55
    for label in ("region", "practice size", "care provider", "diagnosis"):
        assert f"MANSA, interaction with {label}" in names
    for outcome in ("time use", "WEMWBS", "SWEMWBS", "QPR-15", "Brief INSPIRE", "ICECAP-A", "EQ-5D-5L"):
        assert {f"{outcome}, {m}" for m in ("partial", "full")} <= names
        assert {f"ICC of {outcome}, {m}" for m in ("crude", "partial", "full")} <= names


def test_region_is_a_joint_test_of_three_terms(rows):
    region = rows.filter(method="MANSA, interaction with region")
    assert region["df_num"].max() == 3
    assert region["estimate"].null_count() == region.height
    assert region["p_value"].null_count() == 0


def test_outliers_of_time_use_are_left_out_by_the_rule_and_by_nothing_else(cell, rows):
    """Whoever is analysed has both values below 150 hours, and all who have are."""
    observed = simulate(cell.scenario.needed, 60, cell.scenario.run.seed, cell.key, 0).observed()
    before, after = (observed.at(f"tus_{visit}") for visit in ("baseline", "followup"))
    kept = (before < 150) & (after < 150)
    assert (~kept & ~np.isnan(before) & ~np.isnan(after)).sum() > 0
    expected = np.bincount(observed.index.participant_trial[kept], minlength=60)
    assert rows.filter(method="time use, partial")["n_used"].to_list() == expected.tolist()
    (partial,) = (m for m in cell.scenario.methods if m.name == "time use, partial")
    assert partial.subset == TUS


def test_trials_are_those_of_partners(cell):
    """Keeping outliers touches no other column."""
    other = load("partners")[0]
    mine = simulate(cell.scenario.mechanism, 20, 5, "", 0).observed()
    theirs = simulate(other.mechanism, 20, 5, "", 0).observed()
    for name, column in theirs.columns.items():
        if not name.startswith("tus"):
            assert np.array_equal(column.values, mine.columns[name].values, equal_nan=not column.categories), name
