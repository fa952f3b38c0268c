"""The scenario partners resembles the trial: sizes, spreads, correlation, and the width of the primary interval."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from simulated import Z, draw

from simtrial.estimands import true_values
from simtrial.run.block import block_rows
from simtrial.scenario import Cell, load

BLOCKS = 12


def quick_methods() -> Cell:
    """Partners without multiple imputation, which takes most of the time."""
    _, (cell,) = load("partners")
    methods = [m for m in cell.scenario.methods if m.kind != "mi"]
    return replace(cell, scenario=replace(cell.scenario, methods=methods))


@pytest.fixture(scope="module")
def rows() -> pl.DataFrame:
    """Rows of 3,000 trials."""
    cell = quick_methods()
    return pl.concat([block_rows(cell, block) for block in range(BLOCKS)], how="diagonal")


def mean_of(values: pl.Series, expected: float, printed: float) -> None:
    """Compare a mean over trials with one of 1,500 trials, to half a printed digit and Z errors of both."""
    error = float(values.std()) * np.sqrt(1 / len(values) + 1 / 1500)  # type: ignore[arg-type]
    assert values.mean() == pytest.approx(expected, abs=Z * error + printed)


@pytest.mark.verify
def test_width_of_the_primary_interval(rows: pl.DataFrame) -> None:
    """Median half-width 0.287 (2.5% and 97.5%: 0.21 and 0.36); the trial's was 0.285.

    Half-widths have an SD of 0.04: the median of 3,000 has an error of 0.0009, of 1,500 0.0013; 3.1 of both are 0.005.
    """
    primary = rows.filter(pl.col("method") == "primary, partial")
    half = (primary["ci_upper"] - primary["ci_lower"]) / 2
    assert half.median() == pytest.approx(0.287, abs=0.005)
    assert half.quantile(0.025) == pytest.approx(0.21, abs=0.012)
    assert half.quantile(0.975) == pytest.approx(0.36, abs=0.012)


@pytest.mark.verify
def test_people_and_practices_analysed(rows: pl.DataFrame) -> None:
    primary = rows.filter(pl.col("method") == "primary, partial")
    mean_of(primary["n_used"].cast(pl.Float64), 170, 0.5)
    mean_of(primary["clusters_used"].cast(pl.Float64), 38.4, 0.05)
    assert (primary["clusters_used"] <= 39).all()


@pytest.mark.verify
def test_intraclass_correlation_of_the_primary_analysis(rows: pl.DataFrame) -> None:
    """Fits of follow-up given baseline average 0.174 (of change 0.155), where the truth is 0.18."""
    mean_of(rows.filter(pl.col("method") == "primary, partial")["icc"], 0.174, 0.0005)


@pytest.mark.verify
def test_rates_of_the_primary_analysis(rows: pl.DataFrame) -> None:
    """95% intervals about the true 0.03: 3,000 trials have an error of 0.4 points; 0.5 for what is approximate."""
    for name in ("primary, partial", "primary, full"):
        mine = rows.filter(pl.col("method") == name)
        covered = (mine["ci_lower"] <= 0.03) & (mine["ci_upper"] >= 0.03)
        assert covered.mean() == pytest.approx(0.95, abs=Z * 0.004 + 0.005)
        assert mine["estimate"].mean() == pytest.approx(0.03, abs=Z * float(mine["estimate"].std()) / np.sqrt(3000))  # type: ignore[arg-type]


@pytest.mark.verify
def test_no_analysis_fails(rows: pl.DataFrame) -> None:
    """One trial in thousands has a stratum that cannot be told apart."""
    assert (rows["status"] == "failed").mean() < 1e-3


def test_spreads_and_correlation_of_the_scores() -> None:
    """2,000 trials, all people pooled: SDs 0.93, 0.90 and 0.78, correlation 0.63, to half a printed digit.

    Pooled SDs of 396,000 people, clustered, have an error of 0.0012: Z of them are 0.0054.
    """
    batch = draw(trials=2000)
    before, after = batch.at("mansa_baseline"), batch.at("mansa_if_control")
    for values, printed in ((before, 0.93), (after, 0.90), (after - before, 0.78)):
        assert values.std() == pytest.approx(printed, abs=0.005 + 0.0054)
    assert np.corrcoef(before, after)[0, 1] == pytest.approx(0.63, abs=0.005 + 0.0054)


def test_flow_of_participants() -> None:
    """198 randomised, 24 not followed up, 170 with both scores, over 2,000 trials; 39 practices of 5.08."""
    batch = draw(trials=2000)
    trial = batch.index.participant_trial
    followed = batch.at("followed_up") == 1
    both = followed & (batch.at("baseline_complete") == 1) & (batch.at("followup_complete") == 1)
    for counted, expected in ((np.ones(len(trial)), 39 * 5.08), (~followed, 39 * 5.08 * 0.121),
                              (both, 39 * 5.08 * 0.879 * 0.99 * 0.983)):  # fmt: skip
        totals = np.bincount(trial, weights=counted, minlength=2000)
        assert totals.mean() == pytest.approx(expected, abs=Z * totals.std() / np.sqrt(2000))
    assert 39 * 5.08 * 0.879 * 0.99 * 0.983 == pytest.approx(170, abs=1)


def test_arms_differ_in_size_by_chance_as_in_the_trial() -> None:
    """A difference of 34 people or more has probability 0.10 (to two digits) when sizes precede allocation."""
    batch = draw(trials=2000)
    sign = 2.0 * batch.at("arm") - 1.0
    difference = np.bincount(batch.index.participant_trial, weights=sign, minlength=2000)
    assert np.mean(np.abs(difference) >= 34) == pytest.approx(0.10, abs=0.005 + Z * np.sqrt(0.09 / 2000))


def test_published_rows_belong_to_methods_of_the_scenario() -> None:
    scenario, _ = load("partners")
    names = {m.name for m in scenario.methods}
    assert {row.method for row in scenario.published} <= names
    assert len(scenario.published) >= 12
    for row in scenario.published:
        assert row.ci_lower < row.estimate < row.ci_upper


KEPT = {"window": "in_window == 1", "availability": "arm == 0 or availability >= 0.7"}


@pytest.mark.parametrize("name", KEPT)
def test_per_protocol_analyses_are_judged_against_their_own_limit_beside_itt(name: str) -> None:
    scenario = load("partners")[0]
    limit = f"per protocol ({name})"
    (estimand,) = (e for e in scenario.estimands if e.name == limit)
    assert (estimand.kind, estimand.keep, estimand.adjust) == ("per-protocol", KEPT[name], ["mansa_baseline"])
    for adjustment in ("partial", "full"):
        (method,) = (m for m in scenario.methods if m.name == f"{limit}, {adjustment}")
        assert method.estimand == ["itt", limit]
        assert method.expressions()[0] == KEPT[name]


@pytest.mark.parametrize("word", ["before", "during"])
@pytest.mark.parametrize("label", ["MANSA", "time use"])
def test_analyses_of_one_period_are_judged_against_its_people_beside_itt(label: str, word: str) -> None:
    scenario = load("partners-full")[0]
    found = [m for m in scenario.methods if m.name.startswith(f"{label}, {word} the pandemic")]
    assert len(found) == 2
    for method in found:
        assert method.estimand == [f"itt, {label}", f"{label} {word} the pandemic"]
        (estimand,) = (e for e in scenario.estimands if e.name == method.estimand[1])
        assert method.subset is not None
        assert method.subset.startswith(str(estimand.among))


@pytest.mark.verify
def test_per_protocol_analyses_have_no_bias_for_their_own_limit(rows: pl.DataFrame) -> None:
    """Gaps that the limit leaves out (weights of the mixed model, dropout) are below 0.001, a fifth of the error."""
    (cell,) = load("partners")[1]
    limits = [e for e in cell.scenario.estimands if e.kind == "per-protocol"]
    for found in true_values(limits, cell.scenario.mechanism, 1, ""):
        for adjustment in ("partial", "full"):
            values = rows.filter((pl.col("method") == f"{found.estimand}, {adjustment}")
                                 & (pl.col("estimand") == found.estimand))["estimate"].drop_nulls()  # fmt: skip
            error = np.hypot(float(values.std()) / np.sqrt(len(values)), found.mcse)  # type: ignore[arg-type]
            assert abs(values.mean() - found.value) < Z * error
