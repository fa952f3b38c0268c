"""Finite estimands: every trial has a true value of its own, from its rows to what is printed."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import simtrial
from polars.testing import assert_frame_equal
from runs import chunks, go, quick, rows
from scipy import stats
from simulated import Z
from tomls import SMALL, changed, written

from simtrial.generate import simulate
from simtrial.performance import performance
from simtrial.run.block import block_rows
from simtrial.scenario import load

__all__ = ["quick"]

FINITE = """
[[estimands]]
name = "itt here"
kind = "itt"
finite = true

[[estimands]]
name = "cace here"
kind = "cace"
received = "sessions >= 30"
finite = true

[[estimands]]
name = "reached"
kind = "full-availability"
finite = true

[[methods]]
"""
EVERY = '["itt", "itt here", "cace here", "reached"]'
OWN = changed("\n[[methods]]\n", FINITE).replace('estimand = "itt"', f"estimand = {EVERY}")
"""The small scenario, its mixed model judged against trials' own effects as well; so many sessions are rare."""


def test_rows_carry_the_effect_among_the_people_of_their_own_trial(tmp_path: Path) -> None:
    """Worked out trial by trial from the block drawn whole, no stage left out; where nobody complies there is none."""
    scenario, (cell,) = load(written(tmp_path, OWN))
    frame = block_rows(cell, 1).filter(method="mixed model")
    batch = simulate(scenario.mechanism, 20, 5, cell.key, 1)
    effect = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    for name, least in (("itt here", 0), ("cace here", 30)):
        found = frame.filter(estimand=name)["own_true_value"].to_list()
        chosen = batch.at("sessions_offered") >= least
        expected = [effect[chosen & (batch.index.participant_trial == t)] for t in range(20)]
        assert found == [pytest.approx(e.mean(), abs=1e-12) if len(e) else None for e in expected]
    assert 0 < frame.filter(estimand="cace here")["own_true_value"].null_count() < 20
    assert frame.filter(estimand="itt")["own_true_value"].null_count() == 20
    assert frame.filter(estimand="itt here")["own_true_value"].n_unique() > 10


def test_an_effect_that_reaches_everyone_is_that_of_the_same_people(tmp_path: Path) -> None:
    """Not rounded or clipped it is the effect itself in every trial; recorded on the scale it is below."""
    plain = changed("icc = 0.1", "icc = 0.1\nitems = 0\nlowest = -1e9\nhighest = 1e9", OWN)
    for text, exact in ((plain, True), (OWN, False)):
        _, (cell,) = load(written(tmp_path, text))
        frame = block_rows(cell, 0).filter(method="mixed model")
        reached = frame.filter(estimand="reached")["own_true_value"].to_numpy()
        itt = frame.filter(estimand="itt here")["own_true_value"].to_numpy()
        assert (reached >= itt).all()
        if exact:
            assert reached == pytest.approx(np.full(20, 0.3), abs=1e-12)
        else:
            assert (reached < 0.3 - 1e-6).any()


def test_other_rows_stay_as_they_were_to_the_last_bit(tmp_path: Path) -> None:
    """Potential outcomes that are drawn as well move nothing, and without finite estimands there is no new column."""
    (_, (plain,)), (_, (own,)) = load(written(tmp_path, SMALL)), load(written(tmp_path, OWN))
    before, after = block_rows(plain, 2), block_rows(own, 2)
    assert "own_true_value" not in before.columns
    kept = after.filter(pl.col("estimand").is_in(["itt", "cace"]))
    assert kept["own_true_value"].null_count() == kept.height == 60
    assert_frame_equal(kept.drop("own_true_value"), before, check_exact=True, check_column_order=False)
    said = after.filter(method="mixed model").drop("own_true_value", "estimand")
    assert said.height == 80
    assert said.unique().height == 20  # what the method says is the same, whatever it is judged against


SIMPLE = """
schema = 1
name = "simple"

[mechanism.practices]
number = 20
cluster_size_mean = 5.0
cluster_size_cv = 0.0

[mechanism.allocation]
method = "complete"

[mechanism.outcomes.mansa]
effect = 0.4
effect_sd = 0.8
baseline_slope = 0.0
residual_sd = 1.0
icc = 0.1
items = 0
lowest = -1e9
highest = 1e9

[[estimands]]
name = "all"
kind = "itt"

[[estimands]]
name = "here"
kind = "itt"
finite = true

[[methods]]
name = "means"
kind = "cluster-means"
adjust = []
estimand = ["all", "here"]

[run]
replicates = 20000
seed = 3
block = 2000
"""
PRACTICES, OF_MEANS, OF_EFFECTS = 20, 0.1 + 0.9 / 5, 0.8**2
"""Practices; variance of a practice's mean without the intervention, icc + (1 - icc)/5; variance of its effect."""


@cache
def simple(file: str) -> pl.DataFrame:
    _, (cell,) = load(file)
    return pl.concat([block_rows(cell, block) for block in range(10)], how="diagonal")


@pytest.fixture
def against(tmp_path_factory: pytest.TempPathFactory) -> tuple[pl.DataFrame, pl.DataFrame]:
    """20,000 trials of ten practices of five people per arm, against the effect of all and their own."""
    file = Path(tmp_path_factory.getbasetemp()) / "simple.toml"
    file.write_text(SIMPLE)
    found = simple(str(file))
    return found.filter(estimand="all"), found.filter(estimand="here")


def coverage(variance: float) -> float:
    """P(|N(0, variance)| < t sqrt(V)), V = (S1^2 + S0^2)/2 x 4/20, S^2 the variances of practice means by arm.

    Each S^2 is its expectation times an independent chi-squared on 9 degrees of freedom over 9, and t that of 18: by
    quadrature over 400 quantiles of either.
    """
    share = (np.arange(400) + 0.5) / 400
    scaled = stats.chi2.ppf(share, 9) / 9
    pooled = ((OF_MEANS + OF_EFFECTS) * scaled[:, None] + OF_MEANS * scaled[None, :]) / 2
    half = stats.t.ppf(0.975, 18) * np.sqrt(pooled * 4 / PRACTICES)
    return float((2 * stats.norm.cdf(half / np.sqrt(variance)) - 1).mean())


def test_spread_and_coverage_against_either_true_value_have_their_closed_forms(
    against: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """With a the variance of a practice's mean and s^2 that of its effect, J practices in two equal arms.

    var(estimate) = 4a/J + 2 s^2/J, var(own true value) = s^2/J, and because half of the own true value is seen,
    var(estimate - own) = 4a/J + s^2/J. Variances are known to sqrt(2/20,000), 1%; coverages to 0.2 points, Z = 4.5.
    """
    _, here = against
    own, estimate = here["own_true_value"].to_numpy(), here["estimate"].to_numpy()
    wide, narrow = (4 * OF_MEANS + k * OF_EFFECTS for k in (2, 1))
    tolerance = Z * np.sqrt(2 / len(own))
    for values, expected in ((estimate, wide), (own, OF_EFFECTS), (estimate - own, narrow)):
        assert values.var(ddof=1) == pytest.approx(expected / PRACTICES, rel=tolerance)
    assert narrow / wide < 1 - 2 * tolerance
    for true, variance in ((0.4, wide), (own, narrow)):
        inside = (here["ci_lower"].to_numpy() <= true) & (true <= here["ci_upper"].to_numpy())
        expected = coverage(variance / PRACTICES)
        assert abs(inside.mean() - expected) < Z * np.sqrt(expected * (1 - expected) / len(own))
    assert coverage(narrow / PRACTICES) - coverage(wide / PRACTICES) > 0.02


def test_bias_is_the_same_against_either_and_coverage_of_ones_own_is_higher(
    against: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Biases differ by 0.4 less the mean own true value, an error of s/sqrt(20 n); coverages by paired indicators."""
    everyone, here = against
    truths = pl.DataFrame({
        "cell": ["base"] * 2, "estimand": ["all", "here"], "true_value": [0.4, 7.0], "true_value_mcse": [0.0, 9.0],
        "own": [False, True],
    })  # fmt: skip
    frame = performance(pl.concat([everyone, here]), truths)
    found = {(e, m): (v, s, n) for e, m, v, s, n in frame.select("estimand", "measure", "value", "mcse", "n").rows()}
    n = here.height
    (bias, error, _), (own, own_error, _) = found["all", "bias"], found["here", "bias"]
    assert abs(bias - own) < Z * np.sqrt(OF_EFFECTS / PRACTICES / n)
    assert bias == pytest.approx(own + found["here", "own_true_value"][0] - 0.4, abs=1e-12)
    assert abs(own) < Z * own_error
    assert own_error < 0.9 * error
    for name in ("mse", "rmse", "mean_absolute_error"):
        assert found["here", name][0] < found["all", name][0]
    assert found["here", "empirical_se"] == found["all", "empirical_se"]
    gain = found["here", "coverage"][0] - found["all", "coverage"][0]
    assert gain > Z * np.sqrt(2 * 0.05 * 0.95 / n)


@pytest.mark.usefixtures("quick")
def test_a_run_says_that_true_values_are_each_trials_own(tmp_path: Path) -> None:
    assert not go(tmp_path / "own", text=OWN).failed
    cells = pl.read_parquet(tmp_path / "own" / "cells.parquet")
    assert dict(cells.select("estimand", "own").iter_rows()) == {
        "itt": False, "cace": False, "itt here": True, "cace here": True, "reached": True,
    }  # fmt: skip
    stored = rows(tmp_path / "own").filter(method="mixed model", estimand="itt here")
    table = simtrial("summarise", tmp_path / "own").out
    assert "each trial's own true value" in table
    assert f"{stored['own_true_value'].mean():.4f}*" in table
    long = pl.read_csv(io.StringIO(simtrial("summarise", tmp_path / "own", "--format", "csv").out))
    mine = long.filter(method="mixed model", estimand="itt here")
    error = stored["estimate"] - stored["own_true_value"]
    assert mine.filter(measure="bias")["value"].item() == pytest.approx(error.mean(), rel=1e-12)
    assert mine.filter(measure="mse")["value"].item() == pytest.approx((error**2).mean(), rel=1e-12)
    known = long.filter(method="mixed model", estimand="cace here", measure="own_true_value")["n"].item()
    rare = rows(tmp_path / "own").filter(method="mixed model", estimand="cace here")["own_true_value"]
    assert known == 100 - rare.null_count() < 100
    assert "each trial" in simtrial("show", written(tmp_path, OWN)).out


@pytest.mark.usefixtures("quick")
def test_a_run_without_finite_estimands_is_stored_and_told_as_before(tmp_path: Path) -> None:
    go(tmp_path / "plain", text=SMALL)
    for file in (*chunks(tmp_path / "plain"), tmp_path / "plain" / "cells.parquet"):
        assert not {"own", "own_true_value"} & set(pl.read_parquet(file).columns)
    found = simtrial("summarise", tmp_path / "plain")
    assert found.code == 0
    assert "trial's own" not in found.out


def test_results_made_elsewhere_may_have_them_too(tmp_path: Path) -> None:
    """Errors 0.5, -0.5 and 1, of the fourth none; named as ours, or by --map."""
    text = "method,rep,est,se,{}\na,1,1,1,0.5\na,2,1,1,1.5\na,3,3,1,2\na,4,9,1,\n"
    for name, more in (("own_true_value", []), ("truth", ["--map", "own_true_value=truth"])):
        (tmp_path / "r.csv").write_text(text.format(name))
        found = pl.read_csv(io.StringIO(simtrial("summarise", tmp_path / "r.csv", *more, "--format", "csv").out))
        for measure, value, n in (("bias", 1 / 3, 3), ("coverage", 1.0, 3), ("mean_estimate", 3.5, 4)):
            (row,) = found.filter(measure=measure).iter_rows(named=True)
            assert (row["value"], row["n"]) == (pytest.approx(value), n)
    assert "each trial's own" in simtrial("summarise", tmp_path / "r.csv", "--map", "own_true_value=truth").out
    refused = simtrial("summarise", tmp_path / "r.csv")  # two values of a column that is not said to be theirs
    assert refused.code == 2
    assert "--map own_true_value=" in refused.err


@pytest.mark.usefixtures("quick")
def test_the_chunk_of_a_run_is_read_like_any_other_file(tmp_path: Path) -> None:
    go(tmp_path / "own", 20, text=OWN)
    (chunk,) = chunks(tmp_path / "own")
    found, whole = (
        pl.read_csv(io.StringIO(simtrial("summarise", what, "--format", "csv").out)).filter(
            pl.col("estimand").is_in(["itt here", "cace here"]) & pl.col("measure").is_in(["bias", "mse", "coverage"])
        )
        for what in (chunk, tmp_path / "own")
    )
    assert_frame_equal(
        found.select("estimand", "measure", "value", "n"), whole.select("estimand", "measure", "value", "n")
    )
    assert found.height == 6 * 2  # the mixed model and the imputed analysis
