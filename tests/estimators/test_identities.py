"""Exact identities of the estimators, in cases with a closed form.

Tolerance ROUNDING: both sides are sums over some fifty rows in double precision, and the optimum of the mixed model is
where a Newton step of at most 1e-6 ends, hence about 1e-12 from the exact one; all agree to 1e-13 as it is.
"""

import numpy as np
import pytest
from reference import method
from scipy import stats
from trials import batch, fit, ragged

ROUNDING = 1e-12
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")
SE = ("CR2", "CR0", "CR1", "CR1S", "CR3", "HC1", "classical")
LMM = [
    *({"df": df} for df in ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger", "normal")),
    {"estimation": "ml", "df": "residual"},
]


def same(left, right, names=NUMBERS, at=0):
    for name in names:
        assert getattr(left, name)[at] == pytest.approx(getattr(right, name)[at], rel=ROUNDING, abs=ROUNDING), name


def balanced(seed, people=6, treated=7, control=5, between=1.0):
    """Draw one trial of equal practices with a practice variance far from 0."""
    rng = np.random.default_rng(seed)
    practices = treated + control
    practice = np.repeat(np.arange(practices), people)
    arm = (np.arange(practices) < treated).astype(float)
    outcome = rng.normal(0, between, practices)[practice] + rng.normal(size=len(practice))
    return {"practice": practice, "arm": arm[practice], "mansa_followup": outcome}


@pytest.mark.parametrize("between", [1.0, 20.0, 3000.0])  # an icc of one half, 0.9975 and 0.9999999
@pytest.mark.parametrize("seed", range(5))
def test_in_balanced_practices_the_mixed_model_is_the_t_test_of_practice_means(seed, between):
    data = balanced(seed, between=between)
    found = fit(batch(data), method("lmm", df="between-within"))
    means = data["mansa_followup"].reshape(12, 6).mean(axis=1)
    expected = stats.ttest_ind(means[:7], means[7:])  # pooled variance
    interval = expected.confidence_interval()
    assert found.extras["tau2"][0] > 0
    assert found.estimate[0, 0] == pytest.approx(means[:7].mean() - means[7:].mean(), rel=ROUNDING)
    assert found.std_error[0, 0] == pytest.approx(found.estimate[0, 0] / expected.statistic, rel=ROUNDING)
    assert found.df[0, 0] == expected.df == 10
    assert found.p_value[0, 0] == pytest.approx(expected.pvalue, rel=ROUNDING)
    assert [found.ci_lower[0, 0], found.ci_upper[0, 0]] == pytest.approx(list(interval), rel=ROUNDING)


@pytest.mark.parametrize("seed", range(5))
def test_in_balanced_practices_every_df_counts_practices_and_kenward_roger_adjusts_nothing(seed):
    observed = batch(balanced(seed))
    plain = fit(observed, method("lmm"))
    for df in ("satterthwaite", "kenward-roger"):
        same(fit(observed, method("lmm", df=df)), plain, ("estimate", "std_error", "df"))


@pytest.mark.parametrize("seed", range(5))
def test_in_balanced_practices_the_variances_are_those_of_the_analysis_of_variance(seed):
    data = balanced(seed)
    values = data["mansa_followup"].reshape(12, 6)
    within = values.var(axis=1, ddof=1).mean()
    means = values.mean(axis=1)
    between = (((means[:7] - means[:7].mean()) ** 2).sum() + ((means[7:] - means[7:].mean()) ** 2).sum()) / 10
    found = fit(batch(data), method("lmm"))
    assert found.extras["sigma2"][0] == pytest.approx(within, rel=ROUNDING)
    assert found.extras["tau2"][0] == pytest.approx(between - within / 6, rel=ROUNDING)


def test_without_practice_variance_the_mixed_model_is_least_squares_for_every_coefficient():
    data = ragged(5)
    practice = data["practice"]
    means = np.bincount(practice, data["mansa_followup"]) / np.bincount(practice)
    data["mansa_followup"] = data["mansa_followup"] - means[practice]  # people of a practice repel each other
    options = {"adjust": ["mansa_baseline", "size"]}
    mixed = fit(batch(data), method("lmm", df="residual", **options), every_term=True)
    plain = fit(batch(data), method("ols", se="classical", **options), every_term=True)
    assert mixed.extras["tau2"][0] == 0.0
    for at in range(len(plain.terms)):
        same(mixed, plain, at=at)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        *(("lmm", options) for options in LMM),
        *(("ols", {"se": se}) for se in SE),
        *(("iv", {"received": "received == 1", "se": se}) for se in SE),
        ("iv", {"received": "received == 1", "ci": "anderson-rubin"}),
    ],
    ids=str,
)
def test_change_adjusted_for_baseline_is_follow_up_adjusted_for_baseline(kind, options, seed):
    observed = batch(ragged(seed))
    options = {"adjust": ["mansa_baseline", "size"], **options}
    change, followup = (fit(observed, method(kind, outcome=o, **options)) for o in ("change", "followup"))
    same(change, followup)


@pytest.mark.parametrize("seed", range(5))
def test_without_covariates_two_stage_least_squares_is_the_wald_ratio(seed):
    data = ragged(seed)
    data["received"] = (np.random.default_rng(seed).random(len(data["arm"])) < 0.2 + 0.6 * data["arm"]).astype(float)
    treated = data["arm"] == 1
    ratio = [data[name][treated].mean() - data[name][~treated].mean() for name in ("mansa_followup", "received")]
    found = fit(batch(data), method("iv", received="received == 1"))
    assert found.estimate[0, 0] == pytest.approx(ratio[0] / ratio[1], rel=ROUNDING)
    assert found.extras["first_stage"][0] == pytest.approx(ratio[1], rel=ROUNDING)


@pytest.mark.parametrize("se", SE)
def test_where_receipt_is_allocation_two_stage_least_squares_is_least_squares(se):
    data = ragged(2)
    data["received"] = data["arm"]
    options = {"adjust": ["mansa_baseline", "size"], "se": se}
    ratio = fit(batch(data), method("iv", received="received == 1", **options), every_term=True)
    plain = fit(batch(data), method("ols", **options), every_term=True)
    assert ratio.terms[1:] == plain.terms[1:]
    for at in range(len(plain.terms)):
        same(ratio, plain, at=at)


@pytest.mark.parametrize("seed", range(5))
def test_satterthwaite_with_expected_information_has_the_df_of_kenward_roger_exactly(seed):
    observed = batch(ragged(seed))
    adjust = ["mansa_baseline", "age", "size", "list_size"]
    left, right = (
        fit(observed, method("lmm", df=df, adjust=adjust), every_term=True) for df in ("satterthwaite", "kenward-roger")
    )
    assert np.array_equal(left.df, right.df)
    assert (left.std_error < right.std_error).all()


@pytest.mark.parametrize("kind", ["lmm", "ols"])
def test_with_nothing_missing_imputation_is_the_analysis_itself(kind):
    observed = batch(ragged(4))
    options = {"adjust": ["mansa_baseline", "size"]}
    plain = fit(observed, method(kind, **options))
    pooled = fit(observed, method("mi", analysis={"kind": kind}, m=5, **options))
    same(pooled, plain, ("estimate", "std_error"))
    assert pooled.extras["riv"][0] == 0.0  # no variance between imputations, to the last bit
    complete = plain.df[0, 0]
    # Barnard and Rubin's observed-data df with no missing information
    assert pooled.df[0, 0] == pytest.approx(complete * (complete + 1) / (complete + 3), rel=ROUNDING)


@pytest.mark.parametrize(
    ("kind", "options"), [("lmm", {"df": "kenward-roger"}), ("ols", {}), ("iv", {"received": "received == 1"})], ids=str
)
def test_per_protocol_and_subset_are_the_analysis_of_those_kept(kind, options):
    data = ragged(6)
    keep = (data["arm"] == 0) | (data["age"] >= 40)
    reduced = batch({name: values[keep] for name, values in data.items()})
    options = {"adjust": ["mansa_baseline"], **options}
    expected = fit(reduced, method(kind, **options))
    expression = "arm == 0 or age >= 40"
    same(fit(batch(data), method(kind, subset=expression, **options)), expected)
    inner = {"kind": kind, **options}
    same(fit(batch(data), method("per-protocol", keep=expression, analysis=inner)), expected)


def test_a_covariate_is_cluster_level_when_it_is_constant_in_every_analysed_practice():
    data = ragged(7)
    constant = data["practice"] * 0.1
    gone = np.zeros(len(constant), dtype=bool)
    gone[1] = True  # the second of a practice of several
    slightly = constant + 1e-4 * np.random.default_rng(7).normal(size=len(constant))
    odd_one_out = constant + gone
    data |= {"constant": constant, "slightly": slightly, "odd": odd_one_out}

    def df(name, outcome):
        return fit(batch({**data, "mansa_followup": outcome}), method("lmm", adjust=[name])).df[0, 0]

    practices, whole = 12, data["mansa_followup"]
    without = np.where(gone, np.nan, whole)
    assert df("constant", whole) == practices - 3  # intercept, covariate, arm
    assert df("slightly", whole) == practices - 2
    assert df("odd", whole) == practices - 2
    assert df("odd", without) == practices - 3  # who made it vary is not analysed


def test_people_kept_and_people_analysed_are_counted():
    data = ragged(6)
    found = fit(batch(data), method("per-protocol", keep="age >= 40", analysis={"kind": "ols"}))
    kept = data["age"] >= 40
    assert found.n_used[0] == kept.sum()
    assert found.clusters_used[0] == len(np.unique(data["practice"][kept]))
