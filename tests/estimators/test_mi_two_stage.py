"""As many imputations as the standard error needs: a function of the trial alone, and precise enough when repeated."""

import numpy as np
import pytest
from by_r import repeated
from odd_shapes import SHAPES, oddly_shaped
from reference import method
from scipy.special import expit, logit
from test_mi_shared import lacking
from trials import batch, fit, ragged

from simtrial.batch import Column
from simtrial.kernels.rubin import imputations_needed
from simtrial.moments.build import moments

OPTIONS = {
    "random-intercept": {"analysis": {"kind": "lmm"}},
    "chained equations": {"analysis": {"kind": "ols"}, "imputation": "fcs", "burn_in": 2, "thin": 1},
    "by arm": {"analysis": {"kind": "ols"}, "by_arm": True, "df": "barnard-rubin-residual"},
    "several products": {"analysis": {"kind": "ols"}, "interaction": "region"},
}


def same(one, other, trial):
    """Whether two results are the same in a trial, in every number and word but ``m_used``."""
    rows = [{"p": found.p_value[:, trial], "flags": found.flags[trial], "failed": found.failed[trial],
             "used": found.n_used[trial], "ci": found.ci_lower[:, trial], "estimate": found.estimate[:, trial],
             "se": found.std_error[:, trial], "df": found.df[:, trial],
             **{k: v[trial] for k, v in found.extras.items() if k != "m_used"}} for found in (one, other)]  # fmt: skip
    assert rows[0].keys() == rows[1].keys()
    return all(np.array_equal(rows[0][name], rows[1][name], equal_nan=True) for name in rows[0])


@pytest.mark.parametrize("options", OPTIONS)
def test_a_trial_has_the_row_of_the_number_it_uses(options):
    data, given = lacking(baseline=True), {"adjust": ["mansa_baseline", "age"], **OPTIONS[options], "m": 4}
    regions = Column(np.arange(data.index.practices) // 2 % 3, "practice", ("a", "b", "c"))
    data = data.with_columns({"region": regions})
    found = fit(data, method("mi", **given, m_rule="two-stage", se_cv=0.15))
    numbers = found.extras["m_used"]
    assert len(set(numbers)) > 2
    for at, m in enumerate(numbers.astype(int)):
        fixed = fit(data, method("mi", **{**given, "m": int(m)}))
        assert same(found, fixed, at), (options, at)
        assert m == 4 or not same(found, fit(data, method("mi", **given)), at)


def test_the_number_comes_from_the_first_stage_of_the_trial_alone():
    """1 + (g/cv)^2/2 with the upper limit of the missing information (von Hippel 2020)."""
    data, given = lacking(seed=3), {"adjust": ["mansa_baseline"], "analysis": {"kind": "ols"}, "m": 8}
    first, found = fit(data, method("mi", **given)), fit(data, method("mi", **given, m_rule="two-stage", m_max=90))
    share = first.extras["riv"] / (1 + first.extras["riv"])
    upper = expit(logit(share) + 1.959963984540054 * np.sqrt(2 / 8))
    expected = np.clip(np.ceil(1 + 0.5 * (upper / 0.05) ** 2), 8, 90)
    assert found.extras["m_used"].tolist() == expected.tolist()
    assert imputations_needed(np.array([0.0, 1e-300, 0.5, 1.0]), 20, 0.05, 1000).tolist() == [20, 20, 86, 201]
    assert imputations_needed(np.array([0.5, np.nan]), 20, 0.001, 70)[0] == 70
    assert "m_used" not in first.extras


def test_repeated_standard_errors_vary_as_little_as_was_asked_for():
    """Relative errors of SDs of n values are 1/sqrt(2n): at z = 4 two false alarms in 32,000 runs of new seeds."""
    rng, times, data = np.random.default_rng(2), 300, ragged(5, practices=16)
    data["mansa_followup"] = np.where(rng.random(len(data["arm"])) < 0.45, np.nan, data["mansa_followup"])
    copies = repeated({"practice": data["practice"], "arm": data["arm"], "followup": data["mansa_followup"]}, times)[1]
    given = {"adjust": [], "analysis": {"kind": "ols"}, "m": 10}
    few, enough = fit(copies, method("mi", **given)), fit(copies, method("mi", **given, m_rule="two-stage"))
    few, enough = (found.std_error[0].std() / found.std_error[0].mean() for found in (few, enough))
    away = 1 + 4 / np.sqrt(2 * times)
    assert few > 0.05 * away
    assert 0.02 < enough < 0.05 * away


def test_with_nothing_missing_the_first_stage_is_enough():
    data = batch(ragged(3))
    found = fit(data, method("mi", adjust=["age"], analysis={"kind": "lmm"}, m_rule="two-stage", m=5))
    plain = fit(data, method("lmm", adjust=["age"]))
    assert found.extras["m_used"].tolist() == [5]
    assert found.estimate[0, 0] == pytest.approx(plain.estimate[0, 0], rel=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_odd_shapes_are_as_with_a_fixed_number(shape):
    data = ragged(4, practices=12)
    data["mansa_followup"] = np.where(np.arange(len(data["arm"])) % 3 == 0, np.nan, data["mansa_followup"])
    data, adjust = oddly_shaped(data, ["age"], shape)
    given = {"adjust": adjust, "analysis": {"kind": "lmm"}, "m": 4}
    fixed = fit(batch(data), method("mi", **given))
    found = fit(batch(data), method("mi", **given, m_rule="two-stage", se_cv=0.3, m_max=40))
    assert found.failed.tolist() == fixed.failed.tolist()
    assert np.isnan(found.extras["m_used"][0]) == found.failed[0]
    assert found.failed[0] == (found.flags[0] > 0 and bool(found.notes))


def test_completed_data_are_those_that_were_pooled():
    data = lacking(seed=3, trials=1)
    mi = method("mi", adjust=["age"], analysis={"kind": "ols"}, m=4, m_rule="two-stage", se_cv=0.03)
    made = moments(data, mi.spec())
    found = mi.fit(data, made, np.random.default_rng(6))
    sets, failed = mi.completed(data, made, np.random.default_rng(6))
    assert not failed.any()
    assert len(sets) == found.extras["m_used"][0] > 4
    estimates = [fit(one, method("ols", adjust=["age"])).estimate[0, 0] for one in sets]
    assert found.estimate[0, 0] == pytest.approx(np.mean(estimates), rel=1e-10)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"m": 1}, "m = 1 imputations of the first stage; allowed are 2 to m_max = 1000"),
        ({"m": 20, "m_max": 10}, "m = 20 imputations of the first stage; allowed are 2 to m_max = 10"),
        ({"tipping": "both"}, "a tipping point needs the same m in every trial"),
        ({"resampled": True}, "resampled = true needs the same m in every trial"),
        (
            {"analysis": {"kind": "iv", "received": "offered"}, "pooled": "effects"},
            "pooled = 'effects' needs the same m",
        ),
    ],
)
def test_options_that_it_does_not_go_with(options, words):
    given = {"analysis": {"kind": "ols"}, "adjust": ["age"], **options}
    with pytest.raises(ValueError, match=words):
        method("mi", **given, m_rule="two-stage")
