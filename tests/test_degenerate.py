"""Trials in which something cannot be estimated: failure is a status with its cause, not an exception or a number."""

from functools import cache

import numpy as np
import pytest
from reference import Key, method, ours
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
    "nobody received": ({**BASE, "received": np.zeros_like(ARM)}, ADJUST),
}
EVERYWHERE = ("lmm", "ols", "iv")
EXPECTED = {
    # case: methods, status, flags (a method not named is not claimed about)
    "nothing odd": [(EVERYWHERE, "ok", "")],
    "all outcomes equal": [(EVERYWHERE, "failed", "constant_outcome")],
    "outcome explained exactly": [(EVERYWHERE, "failed", "constant_outcome")],
    "arm empty after dropout": [(EVERYWHERE, "failed", "too_few_clusters;arm_aliased")],
    "constant covariate": [(EVERYWHERE, "ok", "aliased")],
    "covariate twice": [(EVERYWHERE, "ok", "aliased")],
    "covariate collinear with arm": [(EVERYWHERE, "failed", "arm_aliased")],
    "a practice vanishes": [(EVERYWHERE, "ok", "")],
    "one practice left in an arm": [
        (("lmm",), "ok", "too_few_clusters"),
        (("ols", "iv"), "ok", "leverage_one;too_few_clusters"),
    ],
    "one person per practice": [
        (("lmm",), "ok", "tau2_not_identified"),
        (("ols",), "ok", ""),
        (("iv",), "ok", "weak_instrument"),
    ],
    "one practice in all": [(EVERYWHERE, "failed", "too_few_clusters;arm_aliased")],
    "one practice per arm": [
        (("lmm",), "failed", "too_few_clusters;tau2_not_identified"),
        (("ols", "iv"), "ok", "leverage_one;too_few_clusters"),
    ],
    "fewer people than coefficients": [(EVERYWHERE, "failed", "too_few_clusters;arm_aliased;no_data")],
    "as many people as coefficients": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "one person": [(EVERYWHERE, "failed", "too_few_clusters;arm_aliased;no_data")],
    "no outcome at all": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "no baseline at all": [(EVERYWHERE, "failed", "too_few_clusters;no_data")],
    "nobody received": [(("lmm", "ols"), "ok", ""), (("iv",), "failed", "no_first_stage")],
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
    *(("ols", {"se": se}) for se in ("CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical")),
    *(("ols", {"df": df}) for df in ("clusters-1", "clusters-2", "clusters-p", "residual", "normal")),
    *(("iv", {**RECEIVED, "se": se}) for se in ("CR2", "CR1S", "classical")),
    ("iv", {**RECEIVED, "ci": "anderson-rubin"}),
    ("mi", {"analysis": {"kind": "lmm"}, "m": 3}),
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
            assert np.isnan(target).all(), (kind, options)
            assert np.isnan(found.estimate).all(), (kind, options)
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
        with_it, plain = analysed(case, kind, every_term=True, **options), analysed("nothing odd", kind, **options)
        assert np.isnan(with_it.estimate[with_it.terms.index(CASES[case][1][-1]), 0])
        for name in NUMBERS:  # zeros added to the same sums, in another order
            assert getattr(with_it, name)[0] == pytest.approx(getattr(plain, name)[0], rel=1e-12), (kind, options)


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


# --- the special data sets of oracle/ ---

BOUNDARY = {
    *((trial, model) for trial in ("D03", "D04", "D06", "D10") for model in ("crude", "partial", "full")),
    *(("D25", model) for model in ("partial", "full")),
    *(("D15", model) for model in ("crude", "partial")),
    ("D02", "crude"),
    ("D21", "crude"),
    ("D22", "full"),
}


def reml(suffix):
    """Arm rows of one REML method on follow-up, by trial and model."""
    name = f"lmm_reml.{suffix}"
    return {
        (k.trial, k.model): row
        for k, row in ours("lmm").items()
        if (k.method, k.outcome, k.term) == (name, "followup", "arm")
    }


def test_the_trials_on_the_boundary_are_those_listed():
    assert {key for key, row in reml("normal").items() if row["extra"].get("tau2") == 0.0} == BOUNDARY
    assert {key for key, row in reml("normal").items() if "boundary" in row["flags"]} == BOUNDARY


@pytest.mark.parametrize(("trial", "model"), sorted(BOUNDARY))
def test_on_the_boundary_the_mixed_model_is_least_squares(trial, model):
    plain = ours("ols")[Key(trial, "ols.classical", model, "followup", "arm")]
    mixed, observed_df, kenward = (reml(s)[trial, model] for s in ("normal", "satterthwaite", "kr"))
    # equal in exact arithmetic; both come from sums over a few hundred rows
    assert mixed["estimate"] == pytest.approx(plain["estimate"], rel=0, abs=1e-11 * plain["std_error"])
    assert mixed["std_error"] == pytest.approx(plain["std_error"], rel=1e-11)
    assert observed_df["df"] == plain["df"]
    assert 0 < kenward["df"] < plain["df"] / 1.5


def test_a_saturated_mixed_model_is_refused():
    for (trial, model), row in reml("normal").items():
        assert (row["status"] == "failed") == ((trial, model) == ("D27", "full"))
        assert ("tau2_not_identified" in row["flags"]) == ((trial, model) == ("D27", "full"))


def test_a_saturated_least_squares_fit_is_flagged():
    row = ours("ols")[Key("D27", "ols.CR2.satterthwaite", "full", "followup", "arm")]
    assert (row["status"], row["flags"]) == ("ok", frozenset({"leverage_one"}))


def test_four_practices_in_the_full_model_leave_about_one_df():
    # one practice size only: its coefficient is blank, the fit stands; 4 practices less 3 cluster-level coefficients
    row = reml("between_within_nlme")["D17", "full"]
    size = ours("lmm")[Key("D17", "lmm_reml.between_within_nlme", "full", "followup", "practice_size=large")]
    assert (row["status"], row["df"]) == ("ok", 1.0)
    assert size["estimate"] != size["estimate"]
    assert "aliased" not in row["flags"]


def test_an_arm_of_one_practice_is_flagged_by_every_method():
    rows = [row for group in ("lmm", "ols", "cace") for k, row in ours(group).items() if k.trial == "D18"]
    assert {row["status"] for row in rows} == {"ok"}
    assert all("too_few_clusters" in row["flags"] for row in rows)


@pytest.mark.parametrize("trial", ["D18", "D24"])
def test_where_receipt_is_allocation_the_complier_effect_is_the_least_squares_one(trial):
    for model in ("crude", "partial", "full"):
        for se in ("classical", "CR2"):
            suffix = se if se == "classical" else f"{se}.satterthwaite"
            plain = ours("ols")[Key(trial, f"ols.{suffix}", model, "followup", "arm")]
            ratio = ours("cace")[Key(trial, f"cace_sessions6.2sls.{suffix}", model, "followup", "received")]
            for column in ("estimate", "std_error", "df", "ci_lower", "ci_upper"):
                scale = plain["df"] if column == "df" else plain["std_error"]
                assert ratio[column] == pytest.approx(plain[column], rel=0, abs=1e-9 * scale)
            assert "first_stage_f" not in ratio["extra"]  # infinite
            assert "weak_instrument" not in ratio["flags"]


def test_a_weak_instrument_is_flagged():
    rows = [row for k, row in ours("cace").items() if k.trial == "D11" and k.term == "received"]
    assert all("weak_instrument" in row["flags"] for row in rows)


@pytest.mark.parametrize(("trial", "categories"), [("D20", 2), ("D01", 3), ("D17", 1)])
def test_only_the_regions_present_have_coefficients(trial, categories):
    fit = (trial, "ols.classical", "full", "followup")
    terms = {k.term: row for k, row in ours("ols").items() if (k.trial, k.method, k.model, k.outcome) == fit}
    regions = [row for term, row in terms.items() if term.startswith("region=")]
    assert sum(row["estimate"] == row["estimate"] for row in regions) == categories
    assert all("aliased" not in row["flags"] for row in regions)
