"""Ratio of mixed-model effects beside the definition of caceCRTBoot in R's eefAnalytics, written out.

There the effect of allocation is Hedges' g of the arm's coefficient in the random-intercept model, the share of
compliers the difference of the arms in crude shares, and the interval a bootstrap of people within practices. Figures
of the models are lme4's (cace_ratio.R made tests/oracle/cace_ratio.csv); the package rounds g to two decimals first.
"""

from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from reference import method
from scipy import stats

from simtrial.files.read_trials import read_trials
from simtrial.moments.build import moments

ORACLE = Path(__file__).parents[1] / "oracle"
ROWS = pl.read_csv(ORACLE / "cace_ratio.csv").rows(named=True)
ADJUST = {"none": [], "baseline": ["mansa_baseline"]}
CLOSE = 2e-6  # of an effect's scale: lme4 stops where its criterion is flat


@cache
def data(file):
    path = next((ORACLE / "data").glob(f"{file}_*.csv"))
    return read_trials([path], {"arm", "mansa_baseline", "mansa_followup", "received"}, {})[1]


def analysed(row, kind, **options):
    chosen = method(kind, adjust=ADJUST[row["model"]], **options)
    return chosen.fit(data(row["file"]), moments(data(row["file"]), chosen.spec()), None)


def published(effect, tau2, sigma2, share, sizes):
    """Hedges' g over the share of compliers: b/sqrt(tau2 + sigma2) sqrt(1 - icc c/(N - 2)) / (p_1 - p_0)."""
    people, practices = (np.array([f(n) for n in sizes]) for f in (np.sum, len))
    typical = (people**2 - np.array([(n**2).sum() for n in sizes])) / (people * (practices - 1))
    left = people.sum() - (typical * practices).sum() + typical.sum() - 2
    icc = tau2 / (tau2 + sigma2)
    return effect / np.sqrt(tau2 + sigma2) * np.sqrt(1 - icc * left / (people.sum() - 2)) / share


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['file']}-{r['model']}")
def test_the_published_definition_from_our_parts(row):
    """Effect and variances of `lmm`, the crude share from the rows analysed: their g, and their ratio."""
    found = analysed(row, "lmm")
    made = moments(data(row["file"]), method("lmm", adjust=ADJUST[row["model"]]).spec())
    rows = made.analysed
    arm, receipt = (data(row["file"]).at(name)[rows.rows] for name in ("arm", "received"))
    share = receipt[arm == 1].mean() - receipt[arm == 0].mean()
    arm_of_practice = data(row["file"]).at("arm", "practice")[rows.cluster]
    sizes = [rows.sizes[arm_of_practice == a] for a in (0, 1)]
    scale = np.sqrt(row["tau2"] + row["sigma2"])
    assert share == pytest.approx(row["share"], rel=1e-9)
    assert found.estimate[0, 0] == pytest.approx(row["outcome_effect"], abs=CLOSE * scale)
    ours = published(found.estimate[0, 0], found.extras["tau2"][0], found.extras["sigma2"][0], share, sizes)
    assert ours == pytest.approx(row["g"] / row["share"], abs=3 * CLOSE)


@pytest.mark.parametrize("row", ROWS, ids=lambda r: f"{r['file']}-{r['model']}")
def test_our_ratio_divides_by_a_mixed_model_effect_on_receipt(row):
    """As lme4's two effects; the published denominator is another number wherever practices differ in size."""
    found = analysed(row, "iv", ratio="lmm", received="received == 1")
    theirs = row["outcome_effect"] / row["receipt_effect"]
    scale = np.sqrt(row["tau2"] + row["sigma2"]) / row["share"]
    assert found.estimate[0, 0] == pytest.approx(theirs, abs=5 * CLOSE * scale)
    assert found.extras["first_stage"][0] == pytest.approx(row["receipt_effect"], abs=CLOSE)


def test_the_two_are_equal_where_practices_have_one_size_and_nothing_is_adjusted_for():
    """Exactly: generalised least squares is then the difference of arm means, of the outcome and of receipt."""
    row = next(r for r in ROWS if r["file"] == "D02" and r["model"] == "none")
    ours = analysed(row, "iv", ratio="lmm", received="received == 1").estimate[0, 0]
    raw = row["g"] / row["share"] * np.sqrt(row["tau2"] + row["sigma2"])  # no practice variance: g has no factor
    assert row["tau2"] == 0
    assert ours == pytest.approx(raw, rel=1e-9)
    assert ours == pytest.approx(row["outcome_effect"] / row["share"], rel=1e-9)
    unequal = next(r for r in ROWS if r["file"] == "D03" and r["model"] == "none")
    other = analysed(unequal, "iv", ratio="lmm", received="received == 1").estimate[0, 0]
    assert abs(other / (unequal["outcome_effect"] / unequal["share"]) - 1) > 0.005


def test_resampling_people_within_practices_leaves_practices_out_of_the_interval():
    """Equal practices of m: its variance is (1 - 1/m) sigma2/m per practice, in truth it is tau2 + sigma2/m.

    With an ICC of 0.18 and m = 5 the interval is 0.618 of what it should be, and covers P(|z| < 1.96 * 0.618) = 77%.
    2,000 trials of 40 practices, 199 samples each; 4.5 Monte Carlo errors, and a point for percentiles of 199 samples.
    """
    rng, trials, practices, m, icc = np.random.default_rng(3), 2000, 40, 5, 0.18
    ratio = np.sqrt((1 - 1 / m) * (1 - icc) / m / (icc + (1 - icc) / m))
    expected = 2 * stats.norm.cdf(1.96 * ratio) - 1
    assert (ratio, expected) == (pytest.approx(0.618, abs=5e-4), pytest.approx(0.774, abs=1e-3))
    sign = np.where(np.arange(practices) % 2 == 1, 1.0, -1.0)[:, None] / (practices / 2 * m)
    covered = 0
    for _ in range(trials):
        y = np.sqrt(icc) * rng.normal(size=(practices, 1)) + np.sqrt(1 - icc) * rng.normal(size=(practices, m))
        at = rng.integers(0, m, (199, practices, m))
        drawn = (np.take_along_axis(y[None], at, axis=2) * sign).sum(axis=(1, 2))
        lower, upper = np.quantile(drawn, [0.025, 0.975])
        covered += lower <= 0 <= upper
    assert covered / trials == pytest.approx(expected, abs=4.5 * np.sqrt(expected * (1 - expected) / trials) + 0.01)
