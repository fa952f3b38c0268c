"""Correlation of baseline and follow-up, against scipy, the published interim look, and by hand."""

import numpy as np
import pytest
from reference import method
from scipy.stats import pearsonr
from trials import batch, fit, ragged

from simtrial.flags import text
from simtrial.run.block import block_rows
from simtrial.scenario import load


def several(count=4):
    """Some trials in one batch, with an order of recruitment."""
    parts = [ragged(seed) for seed in range(count)]
    data = {k: np.concatenate([p[k] for p in parts]) for k in ("practice", "arm", "mansa_baseline", "mansa_followup")}
    trial = np.repeat(np.arange(count), [len(p["arm"]) for p in parts])
    month = np.random.default_rng(1).permutation(len(trial)) + 0.5
    return {**data, "trial": trial, "recruitment_month": month}


def test_correlation_interval_and_p_value_are_those_of_scipy():
    data = several()
    found = fit(batch(data), method("correlation", adjust=[], level=0.9))
    for trial in range(4):
        own = data["trial"] == trial
        expected = pearsonr(data["mansa_baseline"][own], data["mansa_followup"][own])
        interval = expected.confidence_interval(0.9)
        assert found.estimate[0, trial] == pytest.approx(expected.statistic, rel=1e-12)
        assert found.p_value[0, trial] == pytest.approx(expected.pvalue, rel=1e-9)
        ends = [found.ci_lower[0, trial], found.ci_upper[0, trial]]
        assert ends == pytest.approx([interval.low, interval.high], rel=1e-9)
        assert found.n_used[trial] == own.sum()


def test_the_first_are_those_who_came_first():
    data = several()
    found = fit(batch(data), method("correlation", adjust=[], first=10))
    for trial in range(4):
        own = np.flatnonzero(data["trial"] == trial)
        own = own[np.argsort(data["recruitment_month"][own])[:10]]
        expected = pearsonr(data["mansa_baseline"][own], data["mansa_followup"][own]).statistic
        assert found.estimate[0, trial] == pytest.approx(expected, rel=1e-12)
        assert found.n_used[trial] == 10
        assert found.clusters_used[trial] == len(np.unique(data["practice"][own]))


def test_the_published_interval_follows_from_its_estimate_and_number():
    """r = 0.69 of 39 people: 80% interval 0.56 to 0.79."""
    rng = np.random.default_rng(2)
    x, noise = rng.normal(size=39), rng.normal(size=39)
    x -= x.mean()
    noise -= noise.mean()
    noise -= x * (noise @ x) / (x @ x)
    y = 0.69 * x / np.sqrt(x @ x) + np.sqrt(1 - 0.69**2) * noise / np.sqrt(noise @ noise)
    data = {"practice": np.arange(39) // 3, "arm": np.arange(39) // 3 % 2, "mansa_baseline": x, "mansa_followup": y}
    found = fit(batch(data), method("correlation", adjust=[], level=0.8))
    numbers = (found.estimate[0, 0], found.ci_lower[0, 0], found.ci_upper[0, 0])
    assert [round(float(v), 2) for v in numbers] == [0.69, 0.56, 0.79]


def test_arms_are_not_told_apart():
    data = several(1)
    swapped = {**data, "arm": 1 - data["arm"]}
    one, other = (fit(batch(d), method("correlation", adjust=[])) for d in (data, swapped))
    assert one.estimate == pytest.approx(other.estimate, rel=1e-14)


@pytest.mark.parametrize(
    ("people", "followup", "cause"), [(3, None, "no_data"), (12, 4.0, "constant_outcome"), (0, None, "no_data")]
)
def test_too_few_people_or_no_variation_is_said(people, followup, cause):
    data = several(1)
    y = data["mansa_followup"].copy()
    y[people:] = np.nan
    if followup is not None:
        y[:people] = followup
    found = fit(batch({**data, "mansa_followup": y}), method("correlation", adjust=[]))
    assert found.failed[0]
    assert text(int(found.flags[0])) == cause
    assert np.isnan([found.estimate[0, 0], found.ci_lower[0, 0], found.p_value[0, 0]]).all()


def test_the_published_look_lies_inside_what_trials_like_it_show():
    """The first 39 vary about the correlation of everyone; 0.69 lies inside the central 95%."""
    cell = load("partners-interim")[1][0]
    rows = block_rows(cell, 0)
    early, late = (rows.filter(method=m)["estimate"].to_numpy() for m in ("interim, 39 people", "final, everyone"))
    assert (rows.filter(method="interim, 39 people")["n_used"] == 39).all()
    assert early.std() > 1.5 * late.std()
    assert np.quantile(early, 0.025) < 0.69 < np.quantile(early, 0.975)
