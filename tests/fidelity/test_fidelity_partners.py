"""How like the trial 2,000 simulated ones are: the shares of published facts inside, and targets met."""

import numpy as np
import polars as pl
import pytest
from scipy import stats

from simtrial.fidelity import Fact, compared, facts, simulated, without_columns
from simtrial.scenario import load

pytestmark = pytest.mark.verify
SECTIONS = {"flow", "table1", "table1 by arm", "table2", "table3", "icc", "adherence", "safety", "subgroups"}


@pytest.fixture(scope="module")
def trials() -> tuple[list[Fact], dict[str, np.ndarray], pl.DataFrame]:
    scenario, (cell,) = load("partners")
    chosen = facts()
    assert without_columns(chosen, scenario.variables) == {}
    values = simulated(chosen, cell, 2000)
    return chosen, values, compared(chosen, values)


def test_every_section_is_there(trials: tuple) -> None:
    frame = trials[2]
    assert set(frame["section"]) == SECTIONS
    assert frame.height >= 350
    assert frame["mean"].null_count() == 0


def test_no_fact_is_always_zero_unless_published_as_zero(trials: tuple) -> None:
    frame = trials[2]
    assert frame.filter((pl.col("lower95") == 0) & (pl.col("upper95") == 0) & (pl.col("published") != 0)).is_empty()


def test_predictions_are_neither_too_wide_nor_too_narrow(trials: tuple) -> None:
    """At least 92% of the facts that no option was set to inside 95%, and 35 to 65% inside 50%."""
    predictions = trials[2].filter(~pl.col("calibrated"))
    assert predictions["inside95"].mean() >= 0.92
    assert 0.35 <= predictions["inside50"].mean() <= 0.65


def test_overall_means_and_shares_of_table_1_meet_their_targets(trials: tuple) -> None:
    """Within half a unit of the last digit and z errors, z for one false alarm in 1,000 runs over all checks."""
    chosen, values, _ = trials
    targets = [
        f for f in chosen if f.section == "table1" and f.calibrated and f.quantity.split(":")[0] in ("mean", "share")
    ]
    assert len(targets) >= 60
    z = stats.norm.isf(0.0005 / len(targets))
    off = {}
    for fact in targets:
        there = values[fact.id][~np.isnan(values[fact.id])]
        tolerance = 0.5 * 10.0**-fact.decimals + z * there.std(ddof=1) / np.sqrt(len(there))
        if abs(there.mean() - fact.value) > tolerance:
            off[fact.id] = (fact.value, there.mean(), tolerance)
    assert not off
