"""Imputation from least squares, with practices ignored or each with its own mean: values drawn, and trials refused."""

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.flags import BIT
from simtrial.moments.build import moments

OUTCOME = "mansa_followup"
OPTIONS = {"analysis": {"kind": "lmm"}, "adjust": ["mansa_baseline", "age"]}
ENGINES = ("single-level", "fixed-effects")
DRAWS, Z = 4000, 4.5  # some 40 values each: a false alarm in 3,500


def lacking(seed=8, practices=16, share=0.3, blank=False):
    """A trial with gaps; every practice keeps two people unless ``blank``."""
    data = ragged(seed, practices)
    gone = np.random.default_rng(seed).random(len(data["arm"])) < share
    for practice in range(practices):
        own = np.flatnonzero(data["practice"] == practice)
        gone[own[:2]] = blank and practice < 2
        gone[own[2:]] |= blank and practice < 2
    return {**data, OUTCOME: np.where(gone, np.nan, data[OUTCOME])}


def fitted(observed, engine, **options):
    made = method("mi", **{**OPTIONS, "imputation": engine, **options})
    return made._fitted(made.incomplete(observed, moments(observed, made.spec())))


def design(data, engine):
    """X of the textbook: arm, or an indicator of every practice."""
    dummies = (data["practice"][:, None] == np.unique(data["practice"])).astype(float)
    first = dummies if engine == "fixed-effects" else np.column_stack([np.ones(len(data["arm"])), data["arm"]])
    return np.column_stack([first, data["mansa_baseline"], data["age"]])


@pytest.mark.parametrize("engine", ENGINES)
def test_values_have_the_posterior_predictive_means_and_variances(engine):
    data = lacking()
    x, y = design(data, engine), data[OUTCOME]
    seen = ~np.isnan(y)
    beta, *_ = np.linalg.lstsq(x[seen], y[seen])
    df = seen.sum() - x.shape[1]
    sigma2 = ((y - x @ beta)[seen] ** 2).sum() / df
    h = np.linalg.inv(x[seen].T @ x[seen])
    mean, spread = x[~seen] @ beta, 1 + np.einsum("ij,jk,ik->i", x[~seen], h, x[~seen])
    observed, rng = batch(data), np.random.default_rng(2)
    made = fitted(observed, engine)
    values = np.array([made.complete(rng).at(OUTCOME)[np.isnan(y)] for _ in range(DRAWS)])
    standard = (values - mean) / np.sqrt(sigma2 * spread)  # t with df degrees of freedom
    assert np.abs(standard.mean(axis=0)).max() < Z * np.sqrt(df / (df - 2) / DRAWS)
    squares = standard**2
    error = squares.std(axis=0, ddof=1) / np.sqrt(DRAWS)
    assert (np.abs(squares.mean(axis=0) - df / (df - 2)) / error).max() < Z
    assert np.array_equal(made.complete(rng).at(OUTCOME)[seen], y[seen])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_missing_baseline_is_drawn_given_the_follow_up(engine):
    data = lacking()
    missing = np.random.default_rng(1).random(len(data["arm"])) < 0.1
    missing &= np.concatenate([[False], data["practice"][1:] == data["practice"][:-1]])
    whole = data["mansa_baseline"]
    data = {**data, "mansa_baseline": np.where(missing, np.nan, whole)}
    filled = fitted(batch(data), engine).complete(np.random.default_rng(1))
    for name in ("mansa_baseline", OUTCOME):
        assert not np.isnan(filled.at(name)).any()
    assert np.array_equal(filled.at("mansa_baseline")[~missing], whole[~missing])
    found = fit(batch(data), method("mi", m=3, imputation=engine, **OPTIONS))
    assert found.n_used[0] == len(missing)


def test_practices_without_anyone_observed_are_counted():
    data = lacking(blank=True)
    found = fit(batch(data), method("mi", m=3, imputation="fixed-effects", **OPTIONS))
    assert found.failed[0]
    assert found.flags[0] & BIT["imputation_failed"]
    assert np.isnan(found.estimate[0, 0])
    assert str(found.notes["message"][0]) == (
        "the imputation model of 'mansa_followup' cannot be fitted: 2 practices have nobody with everything observed, "
        "and so no mean"
    )
    assert not fit(batch(data), method("mi", m=3, imputation="single-level", **OPTIONS)).failed[0]


def test_people_whom_nobody_observed_tells_about_are_not_imputed():
    """A covariate that varies within practices among those to be imputed alone."""
    data = lacking()
    gone = np.isnan(data[OUTCOME])
    data["level"] = np.where(gone & (np.cumsum(gone) == 1), 5.0, data["practice"] % 3)
    options = {"analysis": {"kind": "cluster-means"}, "adjust": ["level"], "m": 3, "imputation": "fixed-effects"}
    found = fit(batch(data), method("mi", **options))
    assert found.failed[0]
    assert "1 person differs from their practice in a covariate" in str(found.notes["message"][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_trial_that_fails_costs_no_other(engine):
    good, bad = lacking(), lacking(9, blank=True)
    bad[OUTCOME] = np.full(len(bad["arm"]), np.nan)
    both = {name: np.concatenate([good[name], bad[name]]) for name in good}
    both["trial"] = np.repeat([0, 1], [len(good["arm"]), len(bad["arm"])])
    found = fit(batch(both), method("mi", m=3, imputation=engine, **OPTIONS))
    assert found.failed.tolist() == [False, True]
    alone = fit(batch(good), method("mi", m=3, imputation=engine, **OPTIONS))
    assert np.isfinite(found.estimate[0, 0])
    assert alone.n_used[0] == found.n_used[0]
    nobody = fit(batch(bad), method("mi", m=3, imputation=engine, **OPTIONS))
    assert nobody.failed[0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("scale", [1e-200, 1e200, 0.0])
def test_outcomes_of_extreme_scale_end_in_a_status(engine, scale):
    data = lacking()
    found = fit(batch({**data, OUTCOME: data[OUTCOME] * scale}), method("mi", m=3, imputation=engine, **OPTIONS))
    assert found.failed[0]
    assert str(found.notes["message"][0])


@pytest.mark.parametrize("engine", ENGINES)
def test_the_estimate_follows_the_unit_and_origin_of_the_outcome(engine):
    data = lacking()
    moved = {**data, OUTCOME: 7 - 3 * data[OUTCOME]}
    options = {"m": 3, "imputation": engine, "analysis": {"kind": "ols"}, "adjust": ["mansa_baseline"]}
    # the same deviates are drawn, so values are mirrored only in distribution: a long run of both
    one, other = (fit(batch(d), method("mi", **{**options, "m": 2000})) for d in (data, moved))
    error = 3 * one.std_error[0] * np.sqrt(one.extras["fmi"] / 2000)
    assert np.abs(other.estimate[0] + 3 * one.estimate[0]) < Z * np.sqrt(2) * error
    assert other.std_error[0] == pytest.approx(3 * one.std_error[0], rel=0.05)
    scaled = fit(batch({**data, OUTCOME: 7 + 3 * data[OUTCOME]}), method("mi", **options))
    assert scaled.estimate[0] == pytest.approx(3 * fit(batch(data), method("mi", **options)).estimate[0], rel=1e-9)
