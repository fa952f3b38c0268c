"""Imputation of each arm from its own people, and products of arm with a covariate inside `mi`."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators.imputation.engine import IMPUTATION_ENGINES, ImputationEngine, register_imputation
from simtrial.flags import BIT
from simtrial.kernels.rubin import pool
from simtrial.moments.build import moments

OUTCOME = "mansa_followup"
OPTIONS = {"analysis": {"kind": "lmm"}, "adjust": ["mansa_baseline", "age"]}


def lacking(seed=8, practices=24, share=0.3, **changed):
    data = {**ragged(seed, practices), **changed}
    gone = np.random.default_rng(seed).random(len(data["arm"])) < share
    return {**data, OUTCOME: np.where(gone, np.nan, data[OUTCOME])}


def engine(observed, **options):
    made = method("mi", **{**OPTIONS, "by_arm": True, **options})
    return made._fitted(made.incomplete(observed, moments(observed, made.spec())))


def test_an_arm_is_imputed_from_its_own_people():
    data = lacking()
    control = data["arm"] == 0
    other = {**data, OUTCOME: np.where(control, 3 * data[OUTCOME] - 7, data[OUTCOME])}
    one, two = (engine(batch(d)).complete(np.random.default_rng(3)).at(OUTCOME) for d in (data, other))
    treated = batch(data).at("arm") == 1
    assert np.isnan(batch(data).at(OUTCOME))[treated].sum() > 5
    assert np.array_equal(one[treated], two[treated])
    # the control arm follows its own scale; draws of standard deviates are the same
    assert two[~treated] == pytest.approx(3 * one[~treated] - 7, rel=1e-9)


def expected(data, arm, names, points=2000):
    """Posterior mean of each missing value of an arm: whole matrices, a grid of the ICC."""
    own = data["arm"] == arm
    x = np.column_stack([np.ones(own.sum()), *(data[name][own] for name in names)])
    y, practice = data[OUTCOME][own], data["practice"][own]
    seen = ~np.isnan(y)
    same = practice[:, None] == practice[None, :]
    logs, means = [], []
    for rho in (np.arange(points) + 0.5) / points:
        gamma = rho / (1 - rho)
        h = np.eye(seen.sum()) + gamma * same[np.ix_(seen, seen)]
        inverse = np.linalg.inv(h)
        information = x[seen].T @ inverse @ x[seen]
        beta = np.linalg.solve(information, x[seen].T @ inverse @ y[seen])
        rest = y[seen] - x[seen] @ beta
        logs.append(
            -0.5 * (np.linalg.slogdet(h)[1] + np.linalg.slogdet(information)[1])
            - 0.5 * (seen.sum() - x.shape[1]) * np.log(rest @ inverse @ rest)
        )
        means.append(x[~seen] @ beta + gamma * same[np.ix_(~seen, seen)] @ inverse @ rest)
    weight = np.exp(np.array(logs) - max(logs))
    return weight @ np.array(means) / weight.sum()


@pytest.mark.parametrize("arm", [0, 1])
def test_values_have_the_posterior_means_of_a_model_of_the_arm_alone(arm):
    data = lacking(5, 16)
    observed, draws = batch(data), 4000
    fitted, rng = engine(observed), np.random.default_rng(1)
    there = np.isnan(observed.at(OUTCOME)) & (observed.at("arm") == arm)
    values = np.array([fitted.complete(rng).at(OUTCOME)[there] for _ in range(draws)])
    error = values.std(axis=0, ddof=1) / np.sqrt(draws)
    z = (values.mean(axis=0) - expected(data, arm, OPTIONS["adjust"])) / error
    assert np.abs(z).max() < 4.5  # some 20 values: a false alarm in 7,000
    other = expected({**data, "arm": np.zeros_like(data["arm"])}, 0, OPTIONS["adjust"])
    pooled = other[data["arm"][np.isnan(data[OUTCOME])] == arm]
    assert np.abs((values.mean(axis=0) - pooled) / error).max() > 8  # it is not a model of both


ANALYSES = (
    {"kind": "lmm"}, {"kind": "ols"}, {"kind": "gee"}, {"kind": "cluster-means"}, {"kind": "clda"},
    {"kind": "g-computation"}, {"kind": "g-computation", "by_arm": True}, {"kind": "iv", "received": "received == 1"},
    {"kind": "per-protocol", "keep": "age >= 25", "analysis": {"kind": "gee"}},
)  # fmt: skip


@pytest.mark.parametrize("analysis", ANALYSES, ids=str)
@pytest.mark.parametrize("by_arm", [False, True])
def test_every_analysis_is_pooled(analysis, by_arm):
    observed = batch(lacking())
    found = fit(observed, method("mi", adjust=["mansa_baseline"], analysis=analysis, m=5, by_arm=by_arm))
    assert not found.failed[0]
    assert found.n_used[0] == (observed.at("age") >= (25 if "keep" in analysis else 0)).sum()


def test_an_arm_with_too_few_fails_with_its_reason():
    data = lacking()
    control = np.flatnonzero(data["arm"] == 0)
    few = {**data, OUTCOME: data[OUTCOME].copy()}
    few[OUTCOME][control[3:]] = np.nan
    few[OUTCOME][control[:3]] = [4.0, 5.0, 4.5]  # three people for three coefficients
    found = fit(batch(few), method("mi", m=3, by_arm=True, **OPTIONS))
    assert found.failed[0]
    assert found.flags[0] & BIT["imputation_failed"]
    assert np.isnan(found.estimate[0, 0])
    assert str(found.notes["message"][0]) == (
        "in the control arm, the imputation model of 'mansa_followup' cannot be fitted: "
        "no more people with everything observed than coefficients"
    )
    assert not fit(batch(few), method("mi", m=3, **OPTIONS)).failed[0]


@pytest.mark.parametrize("engine", ["random-intercept", "single-level", "fixed-effects", "mean", "baseline"])
@pytest.mark.parametrize("arm", [0, 1])
def test_an_arm_without_any_outcome_fails(engine, arm):
    good, bad = lacking(share=0.05), lacking(9)
    bad[OUTCOME] = np.where(bad["arm"] == arm, np.nan, bad[OUTCOME])
    both = {name: np.concatenate([good[name], bad[name]]) for name in good}
    both["trial"] = np.repeat([0, 1], [len(good["arm"]), len(bad["arm"])])
    found = fit(batch(both), method("mi", by_arm=True, m=2, imputation=engine, **OPTIONS))
    name = ("control", "intervention")[arm]
    assert found.failed[1]
    assert str(found.notes["message"][1]) == f"outcome 'mansa_followup' is blank throughout the {name} arm"
    alone = fit(batch(bad), method("mi", by_arm=True, m=2, imputation=engine, **OPTIONS))
    assert alone.failed[0]


def test_someone_like_nobody_else_in_the_arm_is_not_imputed():
    data = lacking()
    treated, gone = data["arm"] == 1, np.isnan(data[OUTCOME])
    place = np.where(treated & gone & (np.cumsum(treated & gone) == 1), "West", "East")
    place[np.flatnonzero(~treated & ~gone)[:4]] = "West"
    options = {"analysis": {"kind": "lmm"}, "adjust": ["mansa_baseline", "place"], "m": 3}
    observed = batch({**data, "place": place})
    found = fit(observed, method("mi", by_arm=True, **options))
    assert found.failed[0]
    assert "in the intervention arm, people with everything observed do not tell the effect of 'place=West'" in str(
        found.notes["message"][0]
    )
    assert not fit(observed, method("mi", **options)).failed[0]
    assert not fit(observed, method("mi", by_arm=True, imputation="mean", **options)).failed[0]  # takes no covariate
    # a column that says nothing in an arm, as sessions in control, harms nobody
    receipt = fit(batch(data), method("mi", by_arm=True, m=3, auxiliary=["received"], **OPTIONS))
    assert not receipt.failed[0]


def test_no_more_practices_than_coefficients_leave_the_icc_to_its_prior():
    data = lacking(4, 20)
    few = (data["arm"] == 0) | (data["practice"] == data["practice"][data["arm"] == 1][0])
    data = {name: values[few] for name, values in data.items()}
    own = np.flatnonzero(data["arm"] == 1)
    data[OUTCOME][own], data[OUTCOME][own[0]] = np.linspace(4, 5, len(own)) + 0.1 * np.sin(own), np.nan
    found = fit(batch(data), method("mi", by_arm=True, m=3, adjust=[], analysis={"kind": "ols", "se": "classical"}))
    assert found.flags[0] & BIT["tau2_not_identified"]


def test_an_engine_that_looks_at_both_arms_is_refused():
    @register_imputation("both")
    class Both(ImputationEngine):
        """An engine that does not know of arms."""

    try:
        with pytest.raises(ValidationError, match="imputation engine 'both' cannot impute one arm alone"):
            method("mi", imputation="both", by_arm=True, **OPTIONS)
    finally:
        del IMPUTATION_ENGINES.found["both"]


@pytest.mark.parametrize("by_arm", [False, True])
@pytest.mark.parametrize(("covariate", "term"), [("age", "arm:age"), ("size", "arm:size=small")])
def test_one_product_of_arm_is_pooled(covariate, term, by_arm):
    observed = batch(lacking())
    made = method("mi", m=6, interaction=covariate, by_arm=by_arm, **OPTIONS)
    assert (term in made.incomplete(observed, moments(observed, made.spec())).spec.adjust) is not by_arm
    found = fit(observed, made, seed=2)
    incomplete = made.incomplete(observed, moments(observed, made.spec()))
    fitted, rng = made._fitted(incomplete), np.random.default_rng(2)
    each = [fit(fitted.complete(rng), made.analysis) for _ in range(6)]
    pooled = pool(
        np.array([e.estimate for e in each]), np.array([e.std_error for e in each]) ** 2,
        np.mean([e.df for e in each], axis=0),
    )  # fmt: skip
    assert found.terms == (term,)
    assert found.estimate == pytest.approx(pooled.estimate, rel=1e-12)
    assert found.std_error == pytest.approx(np.sqrt(pooled.variance), rel=1e-12)
    assert found.extras["statistic"] == pytest.approx(found.estimate[0] / found.std_error[0])
