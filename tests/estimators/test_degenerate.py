"""Trials in which something cannot be estimated: failure is a status with its cause, not an exception or a number."""

from functools import cache

import numpy as np
import pytest
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators import FATAL
from simtrial.flags import text

BASE = ragged(3)
PRACTICE, ARM, OUTCOME = BASE["practice"], BASE["arm"], BASE["mansa_followup"]
TREATED, CONTROL = np.unique(PRACTICE[ARM == 1]), np.unique(PRACTICE[ARM == 0])
ADJUST = ["mansa_baseline"]


def rows(chosen):
    """Return the base trial reduced to some participants."""
    return {name: values[chosen] for name, values in BASE.items()}


def without_outcome(gone):
    return {**BASE, "mansa_followup": np.where(gone, np.nan, OUTCOME)}


def few(count):
    """Return ``count`` people, alternating between the largest practice of each arm."""
    largest = [max(arm, key=lambda p: np.sum(PRACTICE == p)) for arm in (TREATED, CONTROL)]
    pairs = zip(*(np.flatnonzero(PRACTICE == practice) for practice in largest), strict=False)
    return rows([person for pair in pairs for person in pair][:count])


CASES = {
    # name: data, covariates
    "nothing odd": (BASE, ADJUST),
    "all outcomes equal": ({**BASE, "mansa_followup": np.full_like(OUTCOME, 4.2)}, ADJUST),
    "outcome explained exactly": ({**BASE, "mansa_followup": 1 + 2 * BASE["mansa_baseline"] + ARM}, ADJUST),
    "arm empty after dropout": (without_outcome(ARM == 1), ADJUST),
    "constant covariate": ({**BASE, "fixed": np.full_like(OUTCOME, 40.0)}, [*ADJUST, "fixed"]),
    "covariate twice": ({**BASE, "twin": 2 * BASE["mansa_baseline"] + 1}, [*ADJUST, "twin"]),
    "combination of covariates": (
        {**BASE, "twin": 0.1 + 0.3 * BASE["mansa_baseline"] - 1.7 * BASE["age"]},
        [*ADJUST, "age", "twin"],
    ),
    "covariate collinear with arm": ({**BASE, "twin": 1 - 2 * ARM}, [*ADJUST, "twin"]),
    "a practice vanishes": (without_outcome(PRACTICE == TREATED[0]), ADJUST),
    "one practice left in an arm": (without_outcome(np.isin(PRACTICE, TREATED[1:])), ADJUST),
    "one person per practice": (rows(np.unique(PRACTICE, return_index=True)[1]), ADJUST),
    "one practice in all": (rows(PRACTICE == TREATED[0]), ADJUST),
    "one practice per arm": (rows(np.isin(PRACTICE, (TREATED[0], CONTROL[0]))), ADJUST),
    "fewer people than coefficients": (few(3), [*ADJUST, "age"]),
    "as many people as coefficients": (few(4), [*ADJUST, "age"]),
    "one person": (rows([0]), ADJUST),
    "no outcome at all": (without_outcome(ARM >= 0), ADJUST),
    "no baseline at all": ({**BASE, "mansa_baseline": np.full_like(OUTCOME, np.nan)}, ADJUST),
    "everybody received, control included": ({**BASE, "received": np.ones_like(ARM)}, ADJUST),
    "nobody received": ({**BASE, "received": np.zeros_like(ARM)}, ADJUST),
}
EVERYWHERE = ("lmm", "ols", "gee", "iv")
EXPECTED = {
    # case: methods, status, flags (a method not named is not claimed about)
    "nothing odd": [(EVERYWHERE, "ok", "")],
    "all outcomes equal": [(EVERYWHERE, "failed", "constant_outcome")],
    "outcome explained exactly": [(EVERYWHERE, "failed", "constant_outcome")],
    "arm empty after dropout": [(EVERYWHERE, "failed", "one_arm")],
    "constant covariate": [(EVERYWHERE, "ok", "aliased")],
    "covariate twice": [(EVERYWHERE, "ok", "aliased")],
    "combination of covariates": [(EVERYWHERE, "ok", "aliased")],
    "covariate collinear with arm": [(EVERYWHERE, "failed", "arm_aliased")],
    "a practice vanishes": [(EVERYWHERE, "ok", "")],
    "one practice left in an arm": [
        (("lmm",), "ok", "too_few_clusters"),
        (("ols", "gee", "iv"), "ok", "leverage_one;too_few_clusters"),
    ],
    "one person per practice": [
        (("lmm", "gee"), "ok", "tau2_not_identified"),
        (("ols",), "ok", ""),
        (("iv",), "ok", "weak_instrument"),
    ],
    "one practice in all": [(EVERYWHERE, "failed", "one_arm")],
    "one practice per arm": [
        (("lmm", "gee"), "failed", "too_few_clusters;tau2_not_identified"),
        (("ols", "iv"), "ok", "leverage_one;too_few_clusters"),
    ],
    "fewer people than coefficients": [(EVERYWHERE, "failed", "too_few_clusters;arm_aliased;no_data")],
    "as many people as coefficients": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "one person": [(EVERYWHERE, "failed", "one_arm")],
    "no outcome at all": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "no baseline at all": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "everybody received, control included": [(("lmm", "ols", "gee"), "ok", ""), (("iv",), "failed", "no_first_stage")],
    "nobody received": [(("lmm", "ols", "gee"), "ok", ""), (("iv",), "failed", "no_first_stage")],
}
TABLE = [
    (case, kind, status, flags)
    for case, claims in EXPECTED.items()
    for kinds, status, flags in claims
    for kind in kinds
]
RECEIVED = {"received": "received == 1"}
OPTIONS = [
    *(("lmm", {"df": df}) for df in ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger")),
    *(("lmm", {"estimation": "ml", "df": df}) for df in ("between-within", "satterthwaite", "residual", "normal")),
    *(
        ("lmm", {"heteroscedastic": by, "df": df, "estimation": e})
        for by in ("residual", "cluster", "both")
        for df in ("between-within", "satterthwaite", "residual", "normal")
        for e in ("reml", "ml")
    ),
    *(("ols", {"se": se}) for se in ("CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical")),
    *(("ols", {"df": df}) for df in ("clusters-1", "clusters-2", "clusters-p", "residual", "normal")),
    *(("gee", {"se": se}) for se in ("kauermann-carroll", "robust", "mancl-derouen", "fay-graubard")),
    *(("gee", {"working": "independence", "df": df, "moments": "n"}) for df in ("clusters-p", "normal")),
    *(("iv", {**RECEIVED, "se": se}) for se in ("CR2", "CR1S", "classical")),
    ("iv", {**RECEIVED, "ci": "anderson-rubin"}),
    *(("iv", {**RECEIVED, "level_of_analysis": "cluster", "se": se}) for se in ("CR2", "CR1S", "classical")),
    *(("clda", {"estimation": e}) for e in ("reml", "ml")),
    *(("g-computation", {"average": a, "by_arm": b}) for a in ("participant", "cluster") for b in (False, True)),
    *(("g-computation", {"average": a, "model": "lmm"}) for a in ("participant", "cluster")),
    ("mi", {"analysis": {"kind": "lmm"}, "m": 3}),
    *(("lmm", {"tau2": "unconstrained", "df": df}) for df in ("between-within", "kenward-roger")),
    *(("cluster-means", {"weights": w}) for w in ("equal", "size", "inverse-variance")),
    ("cluster-means", {"variance": "welch"}),
    ("cluster-means", {"adjustment": "ancova", "df": "clusters-p"}),
    ("ols", {"weights": "inverse-size"}),
    ("icc", {}),
    ("correlation", {}),
    ("wild-bootstrap", {"draws": 99}),
    *(
        ("randomisation-test", {"draws": 99, "allocation": {"method": "complete"}, "statistic": statistic})
        for statistic in ("cluster-means", "score")
    ),
]


NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


@cache
def observed(case):
    return batch(CASES[case][0])


def analysed(case, kind, every_term=False, **options):
    return fit(observed(case), method(kind, adjust=CASES[case][1], **options), every_term)


@pytest.mark.parametrize(("case", "kind", "status", "flags"), TABLE)
def test_status_and_flags_name_what_is_odd(case, kind, status, flags):
    found = analysed(case, kind, **(RECEIVED if kind == "iv" else {}))
    assert ("failed" if found.failed[0] else "ok") == status
    assert text(int(found.flags[0])) == flags


def test_every_case_has_an_expectation_for_every_method():
    assert {(case, kind) for case, kind, *_ in TABLE} == {(case, kind) for case in CASES for kind in EVERYWHERE}


@pytest.mark.parametrize("case", CASES)
def test_numbers_are_missing_exactly_where_the_status_says_failed(case):
    for kind, options in OPTIONS:
        found = analysed(case, kind, every_term=True, **options)
        estimate, std_error, df, lower, upper, p_value = target = [getattr(found, name)[0, 0] for name in NUMBERS]
        if found.failed[0]:
            saturated = kind == "cluster-means" and case == "one practice per arm"  # a difference without an error
            assert np.isnan(target[saturated:]).all(), (kind, options)
            assert saturated or np.isnan(found.estimate).all(), (kind, options)
            assert found.flags[0] & FATAL, (kind, options)
        else:
            assert np.isfinite([estimate, std_error]).all(), (kind, options)
            assert std_error > 0, (kind, options)
            assert df > 0, (kind, options)
            assert lower < estimate < upper, (kind, options)
            assert 0 <= p_value <= 1, (kind, options)


@pytest.mark.parametrize("case", ["all outcomes equal", "arm empty after dropout", "covariate collinear with arm"])
def test_imputation_fails_with_the_analysis(case):
    found = analysed(case, "mi", analysis={"kind": "lmm"}, m=3)
    assert found.failed[0]
    assert "imputation_failed" in text(int(found.flags[0])).split(";")


@pytest.mark.parametrize("case", ["constant covariate", "covariate twice"])
def test_a_dropped_covariate_changes_nothing_and_is_blank(case):
    for kind, options in OPTIONS:
        if kind == "clda" and case == "covariate twice":
            continue  # the baseline is an outcome there, which its twin explains exactly
        with_it, plain = analysed(case, kind, every_term=True, **options), analysed("nothing odd", kind, **options)
        if len(with_it.terms) > 1:  # standardisation has an effect only, no coefficients
            assert np.isnan(with_it.estimate[with_it.terms.index(CASES[case][1][-1]), 0])
        for name in NUMBERS:  # zeros added to the same sums, in another order
            assert getattr(with_it, name)[0] == pytest.approx(getattr(plain, name)[0], rel=1e-12), (kind, options)


def test_every_exact_combination_of_covariates_is_recognised():
    # rounding leaves some 1e-16 of the sum of squares, of either sign
    weights, people = np.random.default_rng(2).normal(size=(50, 3)), len(ARM)
    stacked = {name: np.tile(values, len(weights)) for name, values in BASE.items()}
    first, second, third = np.repeat(weights, people, axis=0).T
    stacked["twin"] = first + second * stacked["mansa_baseline"] + third * stacked["age"]
    stacked["trial"] = np.repeat(np.arange(len(weights)), people)
    found = fit(batch(stacked), method("ols", adjust=["mansa_baseline", "age", "twin"]))
    assert {text(int(flags)) for flags in found.flags} == {"aliased"}


def test_a_covariate_that_is_nearly_another_is_kept():
    # what is left of it is 1e-6 of its sum of squares; dropped is what leaves less than 1e-10
    rng = np.random.default_rng(1)
    twin = BASE["mansa_baseline"] + 1e-3 * BASE["mansa_baseline"].std() * rng.normal(size=len(ARM))
    found = fit(batch({**BASE, "twin": twin}), method("ols", adjust=[*ADJUST, "twin"], se="classical"), every_term=True)
    x = np.column_stack([np.ones(len(ARM)), BASE["mansa_baseline"], twin, ARM])
    beta = np.linalg.lstsq(x, OUTCOME, rcond=None)[0]
    assert found.flags[0] == 0
    # cross-products square the condition number: 1e6 times the unit of rounding
    assert found.estimate[:, 0] / found.std_error[:, 0] == pytest.approx(
        beta[[3, 0, 1, 2]] / found.std_error[:, 0], abs=1e-9
    )


def test_a_vanished_practice_is_not_counted():
    found = analysed("a practice vanishes", "lmm")
    assert found.clusters_used[0] == len(TREATED) + len(CONTROL) - 1
    assert found.n_used[0] == np.sum(PRACTICE != TREATED[0])


@pytest.mark.parametrize("df", ["satterthwaite", "satterthwaite-observed", "kenward-roger"])
def test_with_one_person_per_practice_the_mixed_model_is_least_squares(df):
    mixed = analysed("one person per practice", "lmm", df=df)
    plain = analysed("one person per practice", "ols", se="classical")
    for name in ("estimate", "std_error", "df"):
        assert getattr(mixed, name) == pytest.approx(getattr(plain, name), rel=1e-12)
    assert np.isnan(mixed.extras["tau2"][0])
    assert mixed.extras["sigma2"] == pytest.approx(plain.extras["sigma2"], rel=1e-12)


def test_with_one_person_per_practice_sigma2_of_ml_is_the_whole_variance():
    # practice and residual variance cannot be told apart; their sum is RSS/N
    mixed = analysed("one person per practice", "lmm", estimation="ml", df="normal")
    plain = analysed("one person per practice", "ols", se="classical")
    people, coefficients = plain.n_used[0], 3
    expected = plain.extras["sigma2"][0] * (people - coefficients) / people
    assert mixed.extras["sigma2"][0] == pytest.approx(expected, rel=1e-12)


def test_a_trial_without_rows_leaves_the_others_of_its_batch_alone():
    empty = {**BASE, "mansa_followup": np.full_like(OUTCOME, np.nan)}
    both = {name: np.concatenate([values, empty[name]]) for name, values in BASE.items()}
    both["trial"] = np.repeat([0, 1], len(OUTCOME))
    for kind, options in OPTIONS:
        alone = analysed("nothing odd", kind, **options)
        found = fit(batch(both), method(kind, adjust=ADJUST, **options))
        assert found.failed.tolist() == [False, True]
        assert found.estimate[0, 0] == pytest.approx(alone.estimate[0, 0], rel=1e-12)
