"""Multiple imputation: Rubin's rules against mice and mitml, and analyses of data completed by mice, jomo and pan."""

import csv
import math
from functools import cache

import numpy as np
import pytest
from reference import MODELS, ORACLE, method, number, read
from scipy import stats
from trials import batch, fit, ragged

from simtrial.estimators import wald
from simtrial.flags import text
from simtrial.kernels.rubin import pool
from simtrial.moments.build import moments

# Means and variances of at most 100 numbers; the reference's last digits are its own rounding.
POOLING = 1e-10
# mice puts a floor of 1e-4 under lambda in the df. Where lambda is below, the formula itself has a larger df.
FLOORED = {"b_zero", "m100_small_b"}


def grouped(rows, *names):
    """Return rows by the values of some columns."""
    found = {}
    for row in rows:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found


INPUTS = {
    case: (np.array([number(r["estimate"]) for r in rows]), np.array([number(r["variance"]) for r in rows]))
    for (case,), rows in grouped(read("mi_pool_artificial_inputs"), "case").items()
}


@pytest.mark.parametrize("row", read("mi_pool_artificial"), ids=lambda row: f"{row['case']}-{row['df_complete']}")
def test_pooling_of_extreme_cases(row):
    estimates, variances = INPUTS[row["case"]]
    assert len(estimates) == int(row["m"])
    pooled = pool(estimates, variances, np.array(float(row["df_complete"])))
    for mine, theirs in (("estimate", "qbar"), ("within", "ubar"), ("between", "b"), ("variance", "t"), ("riv", "riv")):
        assert getattr(pooled, mine) == pytest.approx(number(row[theirs]), rel=POOLING, abs=0), theirs
    if row["case"] not in FLOORED:
        assert pooled.df == pytest.approx(number(row["df"]), rel=POOLING)
        assert pooled.fmi == pytest.approx(number(row["fmi"]), rel=POOLING)


@pytest.mark.parametrize("row", [r for r in read("mi_pool_artificial") if r["case"] in FLOORED], ids=str)
def test_hardly_any_missing_information_leaves_the_df_without_a_floor(row):
    complete, m, riv = float(row["df_complete"]), int(row["m"]), number(row["riv"])
    share = riv / (1 + riv)
    assert share < 1e-4  # the floor binds

    def df(share):
        rubin = (m - 1) / share**2 if share else math.inf
        observed = complete * (complete + 1) / (complete + 3) * (1 - share) if complete < math.inf else math.inf
        return 1 / (1 / rubin + 1 / observed) if rubin < math.inf or observed < math.inf else math.inf

    assert df(1e-4) == pytest.approx(number(row["df"]), rel=POOLING)  # that is what the reference did
    assert pool(*INPUTS[row["case"]], np.array(complete)).df == pytest.approx(df(share), rel=POOLING)


@pytest.mark.parametrize("rule", ["rubin", "barnard-rubin"])
def test_pooling_of_five_estimates(rule):
    estimates, variances = [0.10, 0.05, 0.02, 0.08, -0.01], [0.0196, 0.0210, 0.0200, 0.0190, 0.0205]
    pooled = pool(np.array(estimates), np.array(variances), np.array(32.0), rule)
    assert [pooled.estimate, pooled.variance, pooled.between] == pytest.approx([0.048, 0.022384, 0.00197], rel=1e-12)
    # mice::pool.scalar printed 25.0965790870; the old rule is (m - 1) / lambda^2 with lambda = 1.2 b / t
    expected = 25.0965790870 if rule == "barnard-rubin" else 4 / (1.2 * 0.00197 / 0.022384) ** 2
    assert pooled.df == pytest.approx(expected, rel=5e-12)


IMPUTED = grouped(read("mi_per_imputation"), "trial_id", "engine", "analysis")
POOLED = grouped(read("mi_pooled"), "trial_id", "engine", "analysis")


@pytest.mark.parametrize("key", POOLED, ids=" ".join)
def test_pooling_of_twenty_imputations(key):
    inputs = IMPUTED[key]
    estimates = np.array([number(row["estimate"]) for row in inputs])
    variances = np.array([number(row["std_error"]) for row in inputs]) ** 2
    assert [row["df_complete"] for row in POOLED[key]] == ["Inf", "n-p", "K-2"]
    for row in POOLED[key]:
        complete = np.array(float(row["df_complete_value"]))
        pooled = pool(estimates, variances, complete)
        share = (1 + 1 / len(estimates)) * pooled.between / pooled.variance
        for mine, theirs in (
            (pooled.estimate, "qbar"), (pooled.within, "ubar"), (pooled.between, "b"), (pooled.variance, "t"),
            (pooled.df, "df"), (pooled.riv, "riv"), (share, "lambda"), (pooled.fmi, "fmi_mice"),
        ):  # fmt: skip
            assert mine == pytest.approx(number(row[theirs]), rel=POOLING), theirs
        std_error, lower, upper, p_value = wald(pooled.estimate, pooled.variance, pooled.df, 0.95)
        for mine, theirs in (
            (std_error, "std_error"), (lower, "ci_lower"), (upper, "ci_upper"), (p_value, "p_value")
        ):  # fmt: skip
            assert mine == pytest.approx(number(row[theirs]), rel=1e-9), theirs  # a quantile of t comes in between
        old_rule = pool(estimates, variances, complete, "rubin").df
        assert old_rule == pytest.approx(number(POOLED[key][0]["df"]), rel=POOLING)


ANALYSES = {
    "ols.classical.full.arm": ("ols", {"se": "classical"}),
    "ols.CR1S.full.arm": ("ols", {"se": "CR1S"}),
    "ols.CR2.full.arm": ("ols", {"se": "CR2"}),
    "lmm_reml.full.arm": ("lmm", {}),
    "cace_sessions6.2sls.CR1S.full.received": ("iv", {"received": "sessions >= 6", "se": "CR1S"}),
}


@cache
def completed():
    """Every completed data set of the reference as one batch, and the trial and number of each."""
    filled = {(r["trial_id"], r["imputation"], r["participant"]): r for r in read("mi_imputed_values")}
    sets = sorted({(trial, int(imputation)) for trial, imputation, _ in filled})
    columns = {name: [] for name in ("trial", "practice", "arm", "region", "practice_size", "sessions")}
    columns |= {"mansa_baseline": [], "mansa_followup": []}
    data = {}
    for trial in {trial for trial, _ in sets}:
        with open(ORACLE / "data" / f"{trial}.csv", newline="") as handle:
            data[trial] = list(csv.DictReader(handle))
    for at, (trial, imputation) in enumerate(sets):
        for row in data[trial]:
            row = {**row, **filled.get((trial, str(imputation), row["participant"]), {})}
            for name in columns:
                value = at if name == "trial" else row[name]
                numeric = name in ("arm", "sessions", "mansa_baseline", "mansa_followup")
                columns[name].append(float(value) if numeric else value)
    return sets, batch(columns)


@pytest.mark.parametrize("analysis", ANALYSES)
def test_analyses_of_completed_data(analysis):
    sets, observed = completed()
    kind, options = ANALYSES[analysis]
    found = fit(observed, method(kind, adjust=MODELS["full"], **options))
    rows = {(r["trial_id"], int(r["imputation"])): r for r in read("mi_per_imputation") if r["analysis"] == analysis}
    assert sorted(rows) == sets
    assert len(sets) == 7 * 20
    names = ("estimate", "std_error", "n", "K")
    expected = {name: np.array([number(rows[key][name]) for key in sets]) for name in names}
    # two programs in double precision; lme4 stops within 1e-9 of its optimum
    assert (found.estimate[0] - expected["estimate"]) / expected["std_error"] == pytest.approx(np.zeros(140), abs=1e-8)
    assert found.std_error[0] == pytest.approx(expected["std_error"], rel=1e-8)
    assert np.array_equal(found.n_used, expected["n"])
    assert np.array_equal(found.clusters_used, expected["K"])


def incomplete(seed=8):
    """Return a trial that lacks outcomes, one practice of them all, and some baselines."""
    data, rng = ragged(seed, practices=16), np.random.default_rng(seed)
    people = len(data["arm"])
    gone = (rng.random(people) < 0.2) | (data["practice"] == 5)
    data["mansa_followup"] = np.where(gone, np.nan, data["mansa_followup"])
    data["mansa_baseline"] = np.where(rng.random(people) < 0.1, np.nan, data["mansa_baseline"])
    return data


@pytest.mark.parametrize(
    ("analysis", "rule"),
    [({"kind": "lmm"}, "barnard-rubin"), ({"kind": "ols", "se": "CR2"}, "barnard-rubin"), ({"kind": "lmm"}, "rubin")],
    ids=str,
)
def test_the_method_imputes_analyses_and_pools(analysis, rule):
    observed = batch(incomplete())
    mi = method("mi", analysis=analysis, m=7, df=rule, adjust=["mansa_baseline", "size"], auxiliary=["age"])
    whole = fit(observed, mi, seed=5)
    rng = np.random.default_rng(5)
    imputer = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec())))
    fits = [fit(imputer.complete(rng), mi.analysis) for _ in range(7)]
    complete = np.mean([f.df[0] for f in fits], axis=0)
    estimates, std_errors = (np.stack([getattr(f, name)[0] for f in fits]) for name in ("estimate", "std_error"))
    pooled = pool(estimates, std_errors**2, complete, rule)
    half = stats.t.ppf(0.975, pooled.df) * np.sqrt(pooled.variance)
    assert whole.estimate[0] == pytest.approx(pooled.estimate, rel=1e-12)
    assert whole.std_error[0] == pytest.approx(np.sqrt(pooled.variance), rel=1e-12)
    assert whole.df[0] == pytest.approx(pooled.df, rel=1e-12)
    assert whole.ci_lower[0] == pytest.approx(pooled.estimate - half, rel=1e-10)
    assert whole.extras["fmi"] == pytest.approx(pooled.fmi, rel=1e-12)
    assert len({float(f.estimate[0, 0]) for f in fits}) == 7


def test_an_imputation_fills_every_gap_and_touches_nothing_else():
    data = incomplete()
    observed = batch(data)
    mi = method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline", "size"])
    filled = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec()))).complete(np.random.default_rng(1))
    for name in ("mansa_baseline", "mansa_followup"):
        before, after = observed.at(name), filled.at(name)
        assert np.isnan(before).any()
        assert np.isfinite(after).all()
        assert np.array_equal(before[~np.isnan(before)], after[~np.isnan(before)])
    assert fit(observed, mi).n_used[0] == len(data["arm"])


def test_a_missing_baseline_is_drawn_given_the_follow_up():
    data, rng = ragged(9, practices=20), np.random.default_rng(9)
    people = len(data["arm"])
    data["mansa_followup"] = 2 * data["mansa_baseline"] + 0.1 * rng.normal(size=people)
    lacking = rng.random(people) < 0.3
    observed = batch({**data, "mansa_baseline": np.where(lacking, np.nan, data["mansa_baseline"])})
    mi = method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline"])
    filled = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec()))).complete(np.random.default_rng(1))
    error = filled.at("mansa_baseline")[lacking] - data["mansa_baseline"][lacking]
    # truth and draw each lie 0.1/2 from the follow-up's half; without the follow-up the spread would be 0.9
    assert error.std() < 0.15


def test_imputation_fails_where_its_model_does_even_if_the_analysis_would_not():
    data = incomplete()
    data["other"] = 1 - 2 * data["arm"]
    observed = batch(data)
    assert not fit(observed, method("lmm", adjust=["size"])).failed[0]
    found = fit(observed, method("mi", analysis={"kind": "lmm"}, m=3, adjust=["size"], auxiliary=["other"]))
    assert found.failed[0]
    assert "imputation_failed" in text(int(found.flags[0]))
    assert np.isnan(found.estimate[0, 0])


def test_what_is_odd_in_most_of_the_analyses_is_flagged():
    data = incomplete()
    practice, gone = data["practice"], np.isnan(data["mansa_followup"])
    means = np.bincount(practice, data["age"]) / np.bincount(practice)
    repelling = np.where(gone, np.nan, data["age"] - means[practice])  # people of a practice repel each other
    options = {"analysis": {"kind": "lmm"}, "m": 5, "prior": "inverse-gamma", "tau2_scale": 1e-6}
    trials = [({**data, "mansa_followup": repelling}, []), ({**data, "fixed": 0 * data["age"]}, ["fixed"]), (data, [])]
    flags = [text(int(fit(batch(one), method("mi", adjust=adjust, **options)).flags[0])) for one, adjust in trials]
    assert flags == ["boundary", "aliased", ""]


def test_people_who_lack_another_covariate_are_neither_imputed_nor_analysed():
    data = incomplete()
    data["age"] = np.where(np.arange(len(data["age"])) % 9 == 0, np.nan, data["age"])
    observed = batch(data)
    mi = method("mi", analysis={"kind": "lmm"}, adjust=["mansa_baseline", "age"])
    filled = mi.engine().fit(mi.incomplete(observed, moments(observed, mi.spec()))).complete(np.random.default_rng(1))
    lacking = np.isnan(data["age"]) & np.isnan(data["mansa_followup"])
    assert lacking.any()
    assert np.isnan(filled.at("mansa_followup"))[lacking].all()
    assert fit(filled, mi.analysis).n_used[0] == np.sum(~np.isnan(data["age"]))


def test_the_same_seed_gives_the_same_numbers_and_another_seed_others():
    observed = batch(incomplete())
    mi = method("mi", analysis={"kind": "lmm"}, m=5, adjust=["mansa_baseline", "size"])
    first, again, other = (fit(observed, mi, seed=seed) for seed in (1, 1, 2))
    assert first.estimate.tobytes() == again.estimate.tobytes()
    assert first.std_error.tobytes() == again.std_error.tobytes()
    assert first.estimate[0, 0] != other.estimate[0, 0]
