"""Intracluster correlations, against lme4, ICC and analysis of variance in R, plain formulas, and limits."""

import csv
from itertools import product

import numpy as np
import pytest
from reference import FILES, ORACLE, method
from scipy.stats import chi2
from slow_twin import criterion
from trials import batch, fit, ragged

from simtrial.files.read_trials import read_trials
from simtrial.flags import text

Z975 = 1.959963984540054


@pytest.fixture(scope="module")
def trials():
    ids, observed = read_trials(FILES, {"arm", "mansa_baseline", "mansa_followup"}, {})
    return [name.split("_")[0] for name in ids], observed


def reference():
    with open(ORACLE / "icc.csv", newline="") as handle:
        return {(r["trial_id"], r["method"], r["occasion"]): r for r in csv.DictReader(handle)}


@pytest.mark.parametrize(
    ("estimation", "within_arm", "occasion"), list(product(["reml", "anova"], [True, False], ["followup", "baseline"]))
)
def test_every_correlation_is_the_reference(trials, estimation, within_arm, occasion):
    ids, observed = trials
    chosen = method("icc", adjust=[], estimation=estimation, within_arm=within_arm, occasion=occasion)
    found, rows = fit(observed, chosen), reference()
    name = f"icc.{'within_arm' if within_arm else 'overall'}.{estimation}"
    expected = [float(rows[trial, name, occasion]["estimate"]) for trial in ids]
    assert found.estimate[0] == pytest.approx(expected, rel=0, abs=1e-9)
    assert not found.failed.any()


@pytest.mark.parametrize("occasion", ["followup", "baseline"])
def test_intervals_of_the_analysis_of_variance_are_those_of_the_package_icc(trials, occasion):
    """ICC 2.4.0: "THD" is the interval by F, "Smith" the estimate and 1.96 standard errors."""
    ids, observed = trials
    chosen = method("icc", adjust=[], estimation="anova", within_arm=False, occasion=occasion)
    found, rows = fit(observed, chosen), reference()
    half = Z975 * found.std_error[0]
    for name, lower, upper in (
        ("THD", found.ci_lower[0], found.ci_upper[0]),
        ("Smith", found.estimate[0] - half, found.estimate[0] + half),
    ):
        theirs = [rows[trial, f"icc.overall.ICCest_{name}", occasion] for trial in ids]
        assert lower == pytest.approx([float(r["ci_lower"]) for r in theirs], rel=0, abs=1e-9)
        assert upper == pytest.approx([float(r["ci_upper"]) for r in theirs], rel=0, abs=1e-9)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_p_values_are_of_no_variance_between_practices(seed):
    """Whole matrices: the likelihood ratio against 0, half a chi-square; F of the mean squares."""
    data = ragged(seed, icc=0.3)
    found = fit(batch(data), method("icc", adjust=["mansa_baseline"]))
    x = np.column_stack([np.ones(len(data["arm"])), data["mansa_baseline"], data["arm"]])
    shared = (data["practice"][:, None] == data["practice"][None, :]).astype(float)
    gamma = found.estimate[0, 0] / (1 - found.estimate[0, 0])
    y = data["mansa_followup"]
    ratio = criterion(0.0, y, x, shared, True) - criterion(gamma, y, x, shared, True)
    expected = 0.5 * chi2.sf(max(ratio, 0.0), 1) if gamma > 0 else 1.0
    assert found.p_value[0, 0] == pytest.approx(expected, rel=1e-6)


def test_the_interval_is_symmetric_on_the_logit_scale_and_all_of_it_on_the_boundary():
    for seed in range(40):
        found = fit(batch(ragged(seed, icc=0.1)), method("icc", adjust=[]))
        lower, upper, estimate = (x[0, 0] for x in (found.ci_lower, found.ci_upper, found.estimate))
        if estimate == 0:
            assert (lower, upper, found.p_value[0, 0]) == (0, 1, 1)
            assert text(int(found.flags[0])) == "boundary"
            continue
        if upper > 1 - 1e-5:
            continue  # an estimate next to 0: few digits of 1 - upper are left
        logit = [np.log(v / (1 - v)) for v in (lower, estimate, upper)]
        assert logit[1] == pytest.approx((logit[0] + logit[2]) / 2, rel=1e-9, abs=1e-9)
        slope = estimate * (1 - estimate)  # of the correlation by its logit
        assert found.std_error[0, 0] == pytest.approx(slope * (logit[2] - logit[1]) / Z975, rel=1e-9)


def test_one_person_per_practice_tells_nothing_of_it():
    data = ragged(4)
    first = np.unique(data["practice"], return_index=True)[1]
    one = batch({key: values[first] for key, values in data.items()})
    for estimation in ("reml", "anova"):
        found = fit(one, method("icc", adjust=[], estimation=estimation))
        assert found.failed[0]
        assert text(int(found.flags[0])) == "tau2_not_identified"
        assert np.isnan([found.estimate[0, 0], found.ci_lower[0, 0], found.p_value[0, 0]]).all()


def test_one_arm_alone_has_a_correlation_when_arms_share_a_mean():
    data = ragged(4)
    one = batch({**data, "arm": np.ones(len(data["arm"]))})
    assert fit(one, method("icc", adjust=[])).failed[0]
    for estimation in ("reml", "anova"):
        shared = fit(one, method("icc", adjust=[], estimation=estimation, within_arm=False))
        assert not shared.failed[0]
        both = fit(batch(data), method("icc", adjust=[], estimation=estimation, within_arm=False))
        assert shared.estimate == pytest.approx(both.estimate, rel=1e-12)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"estimation": "anova", "adjust": ["mansa_baseline"]}, "takes no covariates"),
        ({"occasion": "baseline", "outcome": "change", "adjust": []}, "of one visit"),
    ],
)
def test_what_does_not_go_together_is_refused(options, said):
    with pytest.raises(ValueError, match=said):
        method("icc", **options)
