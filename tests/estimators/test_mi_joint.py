"""Several products tested together inside `mi`: D1 and Reiter's df as mitml has them, and what rows say of pooling."""

import csv
from pathlib import Path

import numpy as np
import pytest
from test_mi_delta import OUTCOME, lacking, mi
from trials import batch, fit, ragged

from simtrial.flags import text
from simtrial.kernels.rubin import pool_tests
from simtrial.moments.build import moments

MITML = list(csv.DictReader((Path(__file__).parents[1] / "data" / "pool_tests.csv").read_text().splitlines()))
"""Made by pool_tests.R beside it, whose inputs are formulas."""


def inputs(m, q):
    i, j = np.arange(1.0, q + 1), np.arange(1.0, m + 1)
    estimates = 0.3 + 0.1 * i + 0.15 * np.sin(1.3 * i + 2.1 * j[:, None])
    v = np.cos(i + 0.5 * j[:, None])
    return estimates[..., None], (0.04 * np.eye(q) + 0.01 * v[:, :, None] * v[:, None, :])[..., None]


@pytest.mark.parametrize("case", MITML, ids=lambda c: f"m{c['m']}-q{c['q']}-{c['df_com']}")
def test_d1_is_that_of_mitml(case):
    m, q, complete = int(case["m"]), int(case["q"]), np.array([float(case["df_com"])])
    estimates, covariances = inputs(m, q)
    test, increase = pool_tests(estimates, covariances, np.ones((q, 1), dtype=bool), complete)
    assert test.statistic[0] == pytest.approx(float(case["statistic"]), rel=1e-12)
    assert increase[0] == pytest.approx(float(case["riv"]), rel=1e-12)
    if q * (m - 1) <= 4:  # Reiter's expansion divides by q (m - 1) - 4: mitml has 4 then, here it is for large samples
        case = next(c for c in MITML if (c["m"], c["q"], c["df_com"]) == (case["m"], case["q"], "inf"))
    assert test.df_den[0] == pytest.approx(float(case["df"]), rel=1e-11)


def test_few_complete_df_give_fewer_and_not_none():
    # 4 (1 + a) above nu*: Reiter's expansion has no value; the df are those of one coefficient, below nu_com
    estimates, covariances = inputs(5, 3)
    for complete in (1.0, 2.0, 4.0, 6.0, 8.0):
        test, _ = pool_tests(estimates, covariances, np.ones((3, 1), dtype=bool), np.array([complete]))
        assert 0 < test.df_den[0] < complete


def test_terms_that_are_not_there_count_for_nothing():
    estimates, covariances = inputs(5, 2)
    wide, spread = np.full((5, 3, 1), np.nan), np.full((5, 3, 3, 1), np.nan)
    wide[:, [0, 2]], spread[np.ix_(range(5), [0, 2], [0, 2])] = estimates, covariances
    two, r = pool_tests(estimates, covariances, np.ones((2, 1), dtype=bool), np.array([40.0]))
    three, s = pool_tests(wide, spread, np.array([[True], [False], [True]]), np.array([40.0]))
    assert three.statistic == pytest.approx(two.statistic, rel=1e-12)
    assert (three.df_num[0], s[0]) == (2.0, pytest.approx(r[0], rel=1e-12))
    assert three.df_den == pytest.approx(two.df_den, rel=1e-12)


def test_equal_imputations_are_complete_data():
    estimates, covariances = inputs(5, 3)
    same = np.repeat(estimates[:1], 5, axis=0), np.repeat(covariances[:1], 5, axis=0)
    test, increase = pool_tests(*same, np.ones((3, 1), dtype=bool), np.array([30.0]))
    b, v = estimates[0, :, 0], covariances[0, :, :, 0]
    assert test.statistic[0] == pytest.approx(b @ np.linalg.solve(v, b) / 3, rel=1e-12)
    assert increase[0] == 0.0
    assert test.df_den[0] == pytest.approx(30 * 31 / 33, rel=1e-12)  # Reiter's nu* at r = 0


def regions(seed=8):
    data, gone = lacking(seed)
    return {**data, "place": np.array(["East", "North", "South"])[(data["practice"] // 2) % 3]}, gone


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize(
    "analysis",
    [{"kind": "ols"}, {"kind": "ols", "se": "classical"}, {"kind": "lmm"}, {"kind": "lmm", "df": "kenward-roger"}],
    ids=str,
)
def test_it_is_d1_of_the_analyses_of_completed_trials(analysis, by_arm):
    data, _ = regions()
    observed, made = batch(data), mi(analysis, interaction="place", m=6, by_arm=by_arm)
    found = fit(observed, made, seed=4)
    assert not found.failed[0], text(int(found.flags[0]))
    assert (found.terms, found.extras["df_num"][0]) == (("arm:place",), 2.0)
    assert np.isnan(found.estimate[0, 0])
    incomplete = made.incomplete(observed, moments(observed, made.spec()))
    fitted, rng = made._fitted(incomplete), np.random.default_rng(4)
    each = [fit(fitted.complete(rng), made.analysis) for _ in range(6)]
    tested = [one.joint.of for one in each]
    expected, increase = pool_tests(
        np.stack([t.estimate for t in tested]), np.stack([t.covariance for t in tested]), tested[0].kept,
        np.mean([one.df[0] for one in each], axis=0),
    )  # fmt: skip
    assert found.extras["statistic"][0] == pytest.approx(expected.statistic[0], rel=1e-12)
    assert found.df[0, 0] == found.extras["df_den"][0] == pytest.approx(expected.df_den[0], rel=1e-12)
    assert found.extras["riv"][0] == pytest.approx(increase[0], rel=1e-12)
    assert 0 < found.p_value[0, 0] < 1
    # W^-1 of the covariances is what the tests of single imputations use
    if analysis.get("df") != "kenward-roger" and analysis["kind"] == "lmm":
        b, v = tested[0].estimate[:, 0], tested[0].covariance[:, :, 0]
        assert each[0].extras["statistic"][0] == pytest.approx(b @ np.linalg.solve(v, b) / 2, rel=1e-9)


def test_with_nothing_missing_it_is_the_test_of_complete_data_but_for_reiters_df():
    data = {**ragged(8, 24), "place": np.array(["East", "North", "South"])[(ragged(8, 24)["practice"] // 2) % 3]}
    made = mi({"kind": "lmm"}, interaction="place")
    found, plain = fit(batch(data), made), fit(batch(data), made.analysis)
    assert found.extras["statistic"][0] == pytest.approx(plain.extras["statistic"][0], rel=1e-12)
    complete = plain.df[0, 0]
    assert found.df[0, 0] == pytest.approx(complete * (complete + 1) / (complete + 3), rel=1e-12)


def test_a_row_says_what_its_variance_is_made_of():
    data, _ = lacking()
    made = mi({"kind": "ols"}, m=8)
    found = fit(batch(data), made)
    extras = {name: values[0] for name, values in found.extras.items()}
    total = extras["within_variance"] + (1 + 1 / 8) * extras["between_variance"]
    assert found.std_error[0, 0] ** 2 == pytest.approx(total, rel=1e-12)
    assert extras["riv"] == pytest.approx(
        (1 + 1 / 8) * extras["between_variance"] / extras["within_variance"], rel=1e-12
    )
    assert extras["mc_error"] == pytest.approx(np.sqrt(extras["between_variance"] / 8), rel=1e-12)


def test_the_monte_carlo_error_is_the_spread_over_repeated_imputation():
    data, _ = lacking()
    observed, made = batch(data), mi({"kind": "ols"}, m=5)
    every = [fit(observed, made, seed=seed) for seed in range(300)]
    spread = np.std([one.estimate[0, 0] for one in every], ddof=1)
    stated = np.sqrt(np.mean([one.extras["mc_error"][0] ** 2 for one in every]))
    assert stated == pytest.approx(spread, rel=4 / np.sqrt(2 * 299))  # false alarm: 6 in 100,000


def test_df_of_complete_data_may_be_those_of_people():
    data, _ = lacking()
    observed = batch(data)
    by_practice, by_people = (
        fit(observed, mi({"kind": "cluster-means", "adjust": []}, adjust=[], df=df))
        for df in ("barnard-rubin", "barnard-rubin-residual")
    )
    assert by_practice.extras["df_complete"][0] == 24 - 2
    assert by_people.extras["df_complete"][0] == len(data["arm"]) - 2
    assert by_people.std_error == pytest.approx(by_practice.std_error, rel=1e-12)
    assert by_people.df[0, 0] > by_practice.df[0, 0]


def test_by_arm_a_category_that_an_arm_lost_has_a_status():
    data, _ = regions()
    data[OUTCOME] = np.where((data["arm"] == 1) & (data["place"] == "South"), np.nan, data[OUTCOME])
    found = fit(batch(data), mi({"kind": "lmm"}, interaction="place", by_arm=True))
    assert found.failed[0]
    assert np.isnan(found.p_value[0, 0])
    assert "do not tell the effect of 'place=South'" in str(found.notes["message"][0])


@pytest.mark.verify
@pytest.mark.parametrize(("lost", "m"), [(0.2, 10), (0.4, 20)])
def test_d1_keeps_its_level(lost, m):
    """Independent normal people, outcomes lost at random, one model for imputation and analysis, no interaction.

    The tests of complete data are exact; pooled ones are within four Monte Carlo errors, and half a point for what
    D1 supposes of equal fractions of missing information: one false alarm in 8,000 runs of new seeds.
    """
    rng, trials, practices, people = np.random.default_rng(5), 3000, 24, 5
    size = practices * people
    practice = np.tile(np.repeat(np.arange(practices), people), trials)
    data = {
        "trial": np.repeat(np.arange(trials), size), "practice": practice, "arm": practice % 2.0,
        "place": np.array(["East", "North", "South"])[(practice // 2) % 3],
        "mansa_baseline": rng.normal(size=trials * size),
    }  # fmt: skip
    outcome = 0.5 * data["mansa_baseline"] + rng.normal(size=trials * size)
    data[OUTCOME] = np.where(rng.random(trials * size) < lost, np.nan, outcome)
    made = mi({"kind": "ols", "se": "classical"}, interaction="place", imputation="single-level", m=m)
    found = fit(batch(data), made)
    assert not found.failed.any()
    rejected = np.mean(found.p_value[0] < 0.05)
    assert rejected == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / trials) + 0.005)
