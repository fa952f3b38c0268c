"""Outcomes that do not vary within practices, or not between them: the limit of the model or failure with a cause."""

import numpy as np
import pytest
from reference import method
from test_optimum import case
from trials import batch, fit

from simtrial.flags import text

RNG = np.random.default_rng(3)
SIZES = RNG.integers(2, 11, 16)
PRACTICE = np.repeat(np.arange(16), SIZES)
ARM = (np.arange(16) % 2)[PRACTICE]
EFFECT, NOISE = 4.0 * RNG.normal(size=16), RNG.normal(size=len(PRACTICE))
INNER, OUTER = RNG.normal(size=len(PRACTICE)), RNG.normal(size=16)[PRACTICE]
BASE = {"practice": PRACTICE, "arm": ARM, "inner": INNER, "outer": OUTER, "mansa_baseline": RNG.normal(size=len(ARM))}
DFS = ("between-within", "satterthwaite", "satterthwaite-observed", "kenward-roger")


def analysed(outcome, kind="lmm", adjust=(), every_term=False, **options):
    data = {**BASE, "mansa_followup": outcome}
    return fit(batch(data), method(kind, adjust=list(adjust), **options), every_term)


def said(found):
    return ("failed" if found.failed[0] else "ok", text(int(found.flags[0])))


def of_means(outcome, *covariates):
    """Regression of practice means on arm and practice-level covariates: effect, standard error, df."""
    mean = np.bincount(PRACTICE, outcome) / SIZES
    first = np.unique(PRACTICE, return_index=True)[1]
    x = np.column_stack([np.ones(16), *(c[first] for c in covariates), ARM[first]])
    beta, rest = np.linalg.lstsq(x, mean, rcond=None)[:2]
    df = 16 - x.shape[1]
    return beta[-1], np.sqrt(rest[0] / df * np.linalg.inv(x.T @ x)[-1, -1]), df


@pytest.mark.parametrize("df", DFS)
@pytest.mark.parametrize(("name", "effect", "std_error", "flags"), [
    ("exact", 2.4875, 4.428194468, "constant_within"), ("tiny5", 2.48751381, 4.428200838, ""),
])  # fmt: skip
def test_the_limit_is_the_t_test_of_practice_means(name, effect, std_error, flags, df):
    # cases/outcome-constant-in-practices: R's t.test of practice means, equal variances, 14 df
    data = case(f"outcome-constant-in-practices/{name}.csv")
    found = fit(batch(data), method("lmm", adjust=[], df=df))
    assert said(found) == ("ok", flags)
    assert found.estimate[0, 0] == pytest.approx(effect, abs=1e-8)
    assert found.std_error[0, 0] == pytest.approx(std_error, abs=5e-9)
    assert found.df[0, 0] == pytest.approx(14.0, rel=1e-8)


@pytest.mark.parametrize("df", DFS)
@pytest.mark.parametrize("within", [0.0, 1e-14, 1e-9, 1e-7, 1e-6, 1e-5])
def test_the_less_people_differ_the_nearer_is_the_test_of_practice_means(within, df):
    outcome = 43.0 + EFFECT[PRACTICE] + within * NOISE
    effect, std_error, clusters_df = of_means(outcome)
    found = analysed(outcome, df=df)
    assert said(found) == ("ok", "constant_within" if within < 2e-7 else "")
    # practices weigh 1 / (tau2 + sigma2 / n_j): alike but for (within / 4)^2, beside the rounding of values near 43
    assert found.estimate[0, 0] == pytest.approx(effect, abs=1e-12 + within**2)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-12 + within**2)
    assert found.df[0, 0] == pytest.approx(clusters_df, rel=1e-9)


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_limit_follows_units_and_origin(scale, offset):
    effect, std_error, df = of_means(EFFECT[PRACTICE])
    found = analysed(scale * (offset + EFFECT[PRACTICE]))
    assert said(found) == ("ok", "constant_within")
    assert found.estimate[0, 0] == pytest.approx(scale * effect, rel=1e-8)  # of a million, 1e-10 is rounding
    assert found.std_error[0, 0] == pytest.approx(scale * std_error, rel=1e-8)
    assert found.df[0, 0] == df


@pytest.mark.parametrize("df", DFS)
def test_what_people_tell_exactly_is_taken_out_of_the_practice_means(df):
    outcome = 43.0 + EFFECT[PRACTICE] + 0.5 * INNER
    effect, std_error, clusters_df = of_means(EFFECT[PRACTICE], OUTER)
    found = analysed(outcome, adjust=["inner", "outer"], every_term=True, df=df)
    assert said(found) == ("ok", "constant_within")
    assert found.estimate[0, 0] == pytest.approx(effect, rel=1e-10)
    assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-10)
    assert found.df[0, 0] == pytest.approx(clusters_df, rel=1e-8)
    inner = found.terms.index("inner")
    assert found.estimate[inner, 0] == pytest.approx(0.5, rel=1e-12)
    assert np.isnan(found.std_error[inner, 0])  # known exactly: no error to be told


@pytest.mark.parametrize("within", [0.0, 1e-6, 1.0])
@pytest.mark.parametrize("share", [1.0, 1e-3])
def test_covariates_that_differ_between_practices_alone_may_be_written_either_way(share, within):
    # collinear within practices: what they differ by shrinks as tau2/sigma2 grows, beside what they have in common
    data = {**BASE, "mansa_followup": 43.0 + EFFECT[PRACTICE] + within * NOISE, "sum": INNER + share * OUTER}
    one, other = (
        fit(batch(data), method("lmm", adjust=["inner", name], df="satterthwaite")) for name in ("outer", "sum")
    )
    for name in ("estimate", "std_error", "df"):
        assert getattr(other, name)[0, 0] == pytest.approx(getattr(one, name)[0, 0], rel=1e-5)


def test_maximum_likelihood_has_the_limit_of_practice_means_as_well():
    effect, std_error, df = of_means(EFFECT[PRACTICE])
    found = analysed(EFFECT[PRACTICE], estimation="ml")
    assert found.estimate[0, 0] == pytest.approx(effect, rel=1e-12)
    assert found.std_error[0, 0] == pytest.approx(std_error * np.sqrt(df / 16), rel=1e-12)
    assert np.isnan(found.extras["loglik"][0])  # without bound
    assert (found.extras["icc"][0], found.extras["sigma2"][0]) == (1.0, 0.0)


def test_an_effect_that_people_tell_exactly_has_no_error_and_fails():
    outcome = EFFECT[PRACTICE] + 0.5 * INNER * ARM
    found = analysed(outcome, adjust=["inner"], interaction="inner")
    assert said(found) == ("failed", "constant_within")
    assert np.isnan(found.estimate[0, 0])


@pytest.mark.parametrize("kind", ["gee", "g-computation", "mi"])
@pytest.mark.parametrize("within", [0.0, 1e-9, 1e-6])
def test_other_methods_go_to_their_limit_without_a_jump(kind, within):
    options = {"g-computation": {"model": "lmm"}, "mi": {"analysis": {"kind": "lmm"}, "m": 3}}.get(kind, {})
    near, there = (analysed(43.0 + EFFECT[PRACTICE] + w * NOISE, kind, **options) for w in (1e-4, within))
    assert said(there)[0] == said(near)[0] == "ok"
    for name in ("estimate", "std_error", "df"):
        assert getattr(there, name)[0, 0] == pytest.approx(getattr(near, name)[0, 0], rel=1e-3)
    if kind == "mi":  # nothing is imputed: the analysis itself
        assert there.std_error[0, 0] == pytest.approx(of_means(EFFECT[PRACTICE])[1], rel=1e-5)


def test_the_score_of_the_randomisation_test_becomes_the_difference_of_practice_means():
    options = {"draws": 99, "allocation": {"method": "complete"}}
    score = analysed(EFFECT[PRACTICE], "randomisation-test", statistic="score", **options)
    means = analysed(EFFECT[PRACTICE], "randomisation-test", **options)
    assert score.estimate[0, 0] == pytest.approx(means.estimate[0, 0], rel=1e-10)
    assert score.p_value[0, 0] == means.p_value[0, 0]


@pytest.mark.parametrize(("kind", "options", "flags"), [
    ("icc", {}, "constant_within"), ("icc", {"estimation": "anova"}, "constant_within"),
    *(("lmm", {"heteroscedastic": by}, "constant_outcome") for by in ("residual", "cluster", "both")),
    ("clda", {}, "constant_within"),
])  # fmt: skip
@pytest.mark.parametrize("within", [0.0, 1e-14, 1e-9])
def test_what_has_no_limit_fails_with_its_cause(kind, options, flags, within):
    found = analysed(43.0 + EFFECT[PRACTICE] + within * NOISE, kind, **options)
    assert said(found) == ("failed", flags)
    assert np.isnan(found.std_error[0, 0])


@pytest.mark.parametrize("by", ["residual", "cluster", "both"])
@pytest.mark.parametrize("within", [1e-3, 1e-2])
def test_variances_by_arm_near_the_limit_are_those_of_practice_means(by, within):
    outcome = EFFECT[PRACTICE] + within * NOISE
    effect, std_error, _ = of_means(outcome)
    found = analysed(outcome, heteroscedastic=by)
    assert said(found) == ("ok", "")
    assert found.estimate[0, 0] == pytest.approx(effect, abs=within**2)
    if by == "residual":  # else Welch's error, that of means of either arm
        assert found.std_error[0, 0] == pytest.approx(std_error, rel=within**2)


def test_with_practice_means_alike_the_mixed_model_is_least_squares_on_its_boundary():
    outcome = 0.3 * ARM + NOISE - (np.bincount(PRACTICE, NOISE) / SIZES)[PRACTICE]
    squares = ((outcome - 0.3 * ARM) ** 2).sum() / (len(ARM) - 2)
    std_error = np.sqrt(squares * (1 / ARM.sum() + 1 / (1 - ARM).sum()))
    for options in ({}, {"heteroscedastic": "cluster"}):
        found = analysed(outcome, **options)
        assert said(found) == ("ok", "boundary")
        assert found.estimate[0, 0] == pytest.approx(0.3, rel=1e-12)
        assert found.std_error[0, 0] == pytest.approx(std_error, rel=1e-10)


@pytest.mark.parametrize(("kind", "options", "flags"), [
    ("lmm", {"tau2": "unconstrained"}, "not_converged"), ("gee", {}, "not_converged"),
    ("icc", {"estimation": "anova"}, "not_converged"), ("g-computation", {"model": "lmm"}, "constant_outcome"),
    ("g-computation", {}, "constant_outcome"),
])  # fmt: skip
def test_an_error_that_practice_means_tell_fails_where_they_are_alike(kind, options, flags):
    outcome = 0.3 * ARM + NOISE - (np.bincount(PRACTICE, NOISE) / SIZES)[PRACTICE]
    assert said(analysed(outcome, kind, **options)) == ("failed", flags)
