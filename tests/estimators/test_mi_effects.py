"""Imputation and the complier effect: effects on outcome and receipt pooled, then divided."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from trials import batch, fit, ragged

from simtrial.estimators.compliers.iv_means import ReducedForms
from simtrial.estimators.compliers.iv_pooled import pooled_forms
from simtrial.flags import text
from simtrial.kernels.rubin import pool

IV = {"kind": "iv", "received": "received == 1"}
KINDS = [
    {"ci": "wald"},
    {"ci": "fieller"},
    {"ci": "anderson-rubin", "se": "CR1S"},
    {"ci": "tf"},
    {"ci": "fieller", "se": "classical"},
    {"ci": "fieller", "ratio": "lmm"},
    {"ci": "fieller", "level_of_analysis": "cluster"},
]
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


def trial(seed, lost=0.0):
    data = ragged(seed, practices=14)
    gone = np.random.default_rng(seed).random(len(data["arm"])) < lost
    return {**data, "mansa_followup": np.where(gone, np.nan, data["mansa_followup"])}


def imputed(data, inner, **options):
    return fit(batch(data), method("mi", adjust=["mansa_baseline"], analysis={**IV, **inner}, **options))


@pytest.mark.parametrize("inner", KINDS, ids=str)
def test_with_nothing_missing_one_imputation_is_the_analysis(inner):
    data = trial(3)
    alone = fit(batch(data), method(adjust=["mansa_baseline"], **IV, **inner))
    found = imputed(data, inner, pooled="effects", m=1)
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(found, name), getattr(alone, name), rtol=1e-12)
    assert list(found.notes.get("ci_type", [])) == list(alone.notes.get("ci_type", []))
    for name in ("first_stage", "first_stage_f", "effective_f"):
        assert found.extras[name] == pytest.approx(alone.extras[name], rel=1e-12)


@pytest.mark.parametrize("inner", KINDS, ids=str)
def test_with_nothing_missing_only_the_df_are_barnard_and_rubins(inner):
    data = trial(4)
    alone = fit(batch(data), method(adjust=["mansa_baseline"], **IV, **inner))
    found = imputed(data, inner, pooled="effects", m=5)
    df = alone.df[0, 0]
    assert found.estimate[0, 0] == pytest.approx(alone.estimate[0, 0], rel=1e-12)
    assert found.std_error[0, 0] == pytest.approx(alone.std_error[0, 0], rel=1e-12)
    assert found.df[0, 0] == pytest.approx(df * (df + 1) / (df + 3), rel=1e-12)
    assert found.extras["fmi"][0] == pytest.approx(2 / (found.df[0, 0] + 3), rel=1e-9)


def test_pooled_effects_by_the_rules_written_out():
    """Draws of a pair: T = W + (1 + 1/m) B entry by entry; df of the contrast by Rubin's rules for one number."""
    rng = np.random.default_rng(1)
    m, trials = 7, 3
    effects = rng.normal([[0.5], [0.7]], 0.1, (m, 2, trials))
    roots = rng.normal(size=(m, 2, 2, trials))
    joints = 0.01 * np.einsum("mact,mbct->mabt", roots, roots)
    none = np.zeros(trials)
    forms = [
        ReducedForms(
            outcome=e[0], receipt=e[1], joint=v, df=none + 12.0, singular=none > 0, flags=none.astype(np.int64)
        )
        for e, v in zip(effects, joints, strict=True)
    ]
    found = pooled_forms(forms, "barnard-rubin")
    for at in range(trials):
        w, b = joints[..., at].mean(axis=0), np.cov(effects[..., at].T)
        np.testing.assert_allclose(found.joint[..., at], w + (1 + 1 / m) * b, rtol=1e-12)
        theta = effects[:, 0, at].mean() / effects[:, 1, at].mean()
        line = np.array([1.0, -theta])
        pooled = pool(effects[..., at] @ line, np.array([line @ v[..., at] @ line for v in joints]), np.array(12.0))
        assert found.df[at] == pytest.approx(float(pooled.df), rel=1e-10)
        assert found.extras["fmi"][at] == pytest.approx(float(pooled.fmi), rel=1e-10)


def test_both_ways_pool_the_same_draws():
    """Receipt is not imputed: with a strong first stage the ratio of means and the mean of ratios are one number."""
    data = trial(6, lost=0.2)
    ratio, effects = (imputed(data, {}, pooled=pooled, m=10) for pooled in ("estimate", "effects"))
    assert effects.estimate[0, 0] == pytest.approx(ratio.estimate[0, 0], rel=1e-10)
    assert effects.std_error[0, 0] == pytest.approx(ratio.std_error[0, 0], rel=0.02)


def test_fieller_after_imputation_can_be_unbounded():
    data = trial(7, lost=0.2)
    rng = np.random.default_rng(7)
    data["received"] = data["arm"] * (rng.random(len(data["arm"])) < 0.08)
    found = imputed(data, {"ci": "fieller"}, pooled="effects", m=5)
    assert found.notes["ci_type"][0] in ("two-rays", "whole-line", "interval")
    assert "weak_instrument" in text(int(found.flags[0]))


def test_without_a_first_stage_the_cause_is_named():
    data = trial(8, lost=0.2)
    data["received"] = np.zeros_like(data["arm"])
    found = imputed(data, {"ci": "fieller"}, pooled="effects", m=3)
    assert found.failed[0]
    assert text(int(found.flags[0])) == "no_first_stage"
    assert np.isnan(found.estimate[0, 0])


@pytest.mark.parametrize(
    ("analysis", "message"),
    [({"kind": "lmm"}, "kind 'lmm' divides no effects"), ({**IV, "ci": "fieller"}, "or write pooled = 'effects'")],
)
def test_what_cannot_be_pooled_is_said(analysis, message):
    options = {"pooled": "effects"} if analysis["kind"] == "lmm" else {}
    with pytest.raises(ValidationError, match=message):
        method("mi", analysis=analysis, **options)
