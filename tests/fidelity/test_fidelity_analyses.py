"""Crude intracluster correlations and interaction tests against what theory and dense algebra give."""

import numpy as np
import pytest
from observed import trials
from scipy.stats import f as f_distribution

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.estimators import method_class
from simtrial.fidelity.analyses import Analysed, crude_icc, read_request, wald_p
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec


def balanced(number: int, practices: int, size: int, icc: float) -> ObservedBatch:
    """Trials of equal practices whose change has an intracluster correlation."""
    rng = np.random.default_rng(5)
    index = Index(number, np.repeat(np.arange(number), practices), np.repeat(np.arange(number * practices), size))
    effect = np.sqrt(icc) * rng.standard_normal(index.practices)
    change = effect[index.participant_practice] + np.sqrt(1 - icc) * rng.standard_normal(index.participants)
    return ObservedBatch(
        index,
        {
            "arm": Column(np.arange(index.practices) % 2, "practice"),
            "mansa_baseline": Column(np.zeros(index.participants), "participant"),
            "mansa_followup": Column(change, "participant"),
        },
    )


def test_icc_and_interval_are_those_of_the_analysis_of_variance_when_practices_are_equal() -> None:
    """There REML is ANOVA: ICC (F - 1)/(F - 1 + n), var F = F^2 (2/df_between + 2/df_within) to first order."""
    practices, size = 20, 6
    batch = balanced(200, practices, size, 0.2)
    icc, lower, upper = crude_icc(moments(batch, Spec("mansa_followup", "mansa_baseline")))
    y = batch.at("mansa_followup").reshape(200, practices, size)
    means = y.mean(axis=2)
    within = ((y - means[..., None]) ** 2).sum(axis=(1, 2)) / (practices * (size - 1))
    by_arm = means.reshape(200, practices // 2, 2)
    between = size * ((by_arm - by_arm.mean(axis=1, keepdims=True)) ** 2).sum(axis=(1, 2)) / (practices - 2)
    ratio = between / within
    gamma = np.maximum(ratio - 1, 0) / size
    np.testing.assert_allclose(icc, gamma / (1 + gamma), atol=1e-6)
    some = gamma > 0.02
    error = ratio[some] / size / gamma[some] * np.sqrt(2 / (practices - 2) + 2 / (practices * (size - 1)))
    logit = np.log(gamma[some])
    np.testing.assert_allclose(lower[some], 1 / (1 + np.exp(-(logit - 1.959964 * error))), rtol=1e-4)
    np.testing.assert_allclose(upper[some], 1 / (1 + np.exp(-(logit + 1.959964 * error))), rtol=1e-4)


def test_no_variance_between_practices_says_nothing_of_the_icc() -> None:
    batch = balanced(200, 10, 4, 0.0)
    icc, lower, upper = crude_icc(moments(batch, Spec("mansa_followup", "mansa_baseline")))
    zero = icc == 0
    assert 50 < zero.sum() < 150
    assert set(lower[zero]) == {0.0}
    assert set(upper[zero]) == {1.0}


def test_one_person_in_every_practice_has_no_icc() -> None:
    icc, _, _ = crude_icc(moments(balanced(3, 10, 1, 0.2), Spec("mansa_followup", "mansa_baseline")))
    assert np.isnan(icc).all()


@pytest.mark.parametrize("tested", ["arm*region", "arm*diagnosis", "period", "arm*period"])
def test_wald_test_against_dense_algebra(tested: str) -> None:
    batch = trials(4)
    found = wald_p(batch, "mansa", ("region", "practice_size"), tested)
    for trial in range(4):
        assert found[trial] == pytest.approx(dense(batch.only(trial), tested), rel=1e-6)


def dense(one: ObservedBatch, tested: str) -> float:
    """P value from full matrices, with the variances that the fit of one trial found."""
    factor = tested.removeprefix("arm*")
    made = factor if tested != factor else None
    adjust = tuple(dict.fromkeys(("mansa_baseline", "region", "practice_size", factor)))
    fitted = moments(one, Spec("mansa_followup", "mansa_baseline", adjust, interaction=made))
    fit = fitted.reml
    x = [np.ones(one.index.participants), one.at("mansa_baseline")]
    for name in dict.fromkeys(("region", "practice_size", factor)):
        x += [one.at(name) == c for c in range(1, len(one.columns[name].categories))]
    labels = range(1, len(one.columns[factor].categories))
    arm = one.at("arm")
    x += [arm, *(arm * (one.at(factor) == c) for c in labels)] if made else []
    tests = range(len(x) - len(labels), len(x))
    x += [] if made else [arm]
    y = one.at("mansa_followup") - one.at("mansa_baseline")
    seen = ~np.isnan(y) & (one.at(factor) >= 0)
    seen &= ~np.isnan(x[1])
    columns, y = np.stack(x, axis=1).astype(float)[seen], y[seen]
    ranks = [np.linalg.matrix_rank(columns[:, : k + 1]) for k in range(columns.shape[1])]
    kept = np.flatnonzero(np.diff([0, *ranks]))  # a region in one arm: one product fewer
    design, at = columns[:, kept], [int(np.searchsorted(kept, k)) for k in tests if k in kept]
    practice = one.index.participant_practice[seen]
    v = fit.tau2[0] * (practice[:, None] == practice) + fit.sigma2[0] * np.eye(len(y))
    covariance = np.linalg.inv(design.T @ np.linalg.solve(v, design))
    b = covariance @ design.T @ np.linalg.solve(v, y)
    square = b[at] @ np.linalg.solve(covariance[np.ix_(at, at)], b[at]) / len(at)
    clusters = len(np.unique(practice))
    inside = [len(np.unique(np.c_[practice, c], axis=0)) > clusters for c in design.T]
    between = clusters - (len(inside) - sum(inside))
    df = len(y) - design.shape[1] - between if inside[at[0]] else between
    return float(f_distribution.sf(square, len(at), df))


def test_one_coefficient_gives_the_t_test_of_the_model() -> None:
    batch = trials(5)
    lmm = method_class("lmm").model_validate(
        {"kind": "lmm", "name": "m", "response": "mansa", "outcome": "change", "adjust": ["mansa_baseline", "period"]}
    )
    fit = lmm.fit(batch, moments(batch, lmm.spec()), None, every_term=True)
    expected = fit.p_value[fit.terms.index("period=during")]
    np.testing.assert_allclose(wald_p(batch, "mansa", (), "period"), expected, rtol=1e-9)


def test_interaction_p_values_are_uniform_where_there_is_none() -> None:
    batch = trials(400, seed=8)
    p = np.sort(wald_p(batch, "wemwbs", (), "arm*practice_size"))
    p = p[~np.isnan(p)]
    assert len(p) > 390
    gap = np.abs(p - (np.arange(len(p)) + 0.5) / len(p)).max()
    assert gap < 2.3 / np.sqrt(len(p))  # Kolmogorov: exceeded with probability 5e-5


def test_every_analysis_is_made_once() -> None:
    analysed = Analysed(trials(3), 1, "", 0)
    first = analysed.value(read_request("estimate:mansa:partial:mi"))
    again = analysed.value(read_request("estimate:mansa:partial:mi"))
    np.testing.assert_array_equal(first, again)
    lower, upper = (analysed.value(read_request(f"{s}:mansa:partial:mi")) for s in ("ci_lower", "ci_upper"))
    assert (lower < first).all()
    assert (first < upper).all()
