"""Event rates as treated, against weighted least squares of statsmodels on person-time, and against what was drawn."""

import numpy as np
import pytest
import statsmodels.api as sm
from simulated import Z, partners

from simtrial.batch import Column, Index, ObservedBatch
from simtrial.estimators.event_rate import EventRate
from simtrial.flags import text
from simtrial.generate import simulate
from simtrial.moments.build import moments
from simtrial.moments.rows import Spec

METHOD = EventRate(name="rates", adjust=[])


def trials(number=4, seed=5, practices=9, rate=0.4):
    """Trials with frequent episodes, blanks in the time of first contact and ragged practices."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 7, number * practices)
    practice_trial = np.repeat(np.arange(number), practices)
    index = Index(number, practice_trial, np.repeat(np.arange(number * practices), sizes))
    arm = np.tile(np.arange(practices) % 2, number)
    people = index.participants
    begins = np.where(arm[index.participant_practice] == 1, rng.uniform(0, 12, people), np.nan)
    begins[rng.random(people) < 0.2] = np.nan
    episodes = rng.poisson(rate, people)
    share = np.where(np.isnan(begins), 0.0, np.clip(1 - begins / 10, 0, 1))
    treated = rng.binomial(episodes, share)
    return ObservedBatch(index, {
        "arm": Column(arm, "practice"),
        "acute_episodes": Column(episodes.astype(float), "participant"),
        "acute_treated": Column(treated.astype(float), "participant"),
        "first_contact_months": Column(begins, "participant"),
    })  # fmt: skip


def fit(batch, method=METHOD):
    return method.fit(batch, moments(batch, method.spec()), None)


def person_time(batch, trial):
    """Two records per person, before and after treatment begins: events per year, years, treated, practice."""
    alone = batch.only(trial)
    records = []
    for person in range(alone.index.participants):
        practice = alone.index.participant_practice[person]
        begins = alone.columns["first_contact_months"].values[person]
        own = alone.columns["arm"].values[practice] == 1
        before = min(begins, 10.0) if own and begins == begins else 10.0
        events = alone.columns["acute_episodes"].values[person]
        later = alone.columns["acute_treated"].values[person]
        records += [(events - later, before / 12, 0, practice), (later, (10 - before) / 12, 1, practice)]
    kept = np.array([r for r in records if r[1] > 0])
    return kept[:, 0] / kept[:, 1], kept[:, 1], kept[:, 2], kept[:, 3].astype(int)


def test_difference_and_error_are_those_of_weighted_least_squares():
    """Rates are means weighted by time; the linearised variance is the cluster sandwich with J/(J - 1)."""
    batch = trials()
    found = fit(batch)
    assert not found.failed.any()
    for trial in range(4):
        y, weights, treated, practice = person_time(batch, trial)
        model = sm.WLS(y, sm.add_constant(treated), weights=weights)
        robust = model.fit(cov_type="cluster", cov_kwds={"groups": practice, "use_correction": False})
        factor = np.sqrt(9 / 8)
        assert found.estimate[0, trial] == pytest.approx(robust.params[1], rel=1e-10)
        assert found.std_error[0, trial] == pytest.approx(factor * robust.bse[1], rel=1e-10)
        assert found.extras["rate_untreated"][trial] == pytest.approx(robust.params[0], rel=1e-10)
    assert found.df[0].tolist() == [7.0] * 4


def test_events_are_classed_by_their_own_onset_and_add_up():
    batch = trials()
    found = fit(batch)
    total = np.bincount(batch.index.participant_trial, weights=batch.columns["acute_episodes"].values)
    assert found.extras["events_treated"] + found.extras["events_untreated"] == pytest.approx(total)


def test_a_trial_without_events_and_one_without_treated_time_say_why():
    batch = trials(3)
    episodes = batch.columns["acute_episodes"].values.copy()
    treated = batch.columns["acute_treated"].values.copy()
    begins = batch.columns["first_contact_months"].values.copy()
    first, second = batch.index.participant_trial == 0, batch.index.participant_trial == 1
    episodes[first] = treated[first] = 0
    begins[second], treated[second] = np.nan, 0
    found = fit(batch.with_columns({
        "acute_episodes": Column(episodes, "participant"), "acute_treated": Column(treated, "participant"),
        "first_contact_months": Column(begins, "participant"),
    }))  # fmt: skip
    assert found.failed.tolist() == [True, True, False]
    assert [text(int(f)) for f in found.flags] == ["constant_outcome", "no_data", ""]
    assert np.isnan(found.estimate[0, :2]).all()


def test_rates_are_those_that_were_drawn():
    """Episodes per person-year: 12/10 x 0.35 untreated and twice that treated; difference 0.42.

    A ratio of two means is biased by the order of 1/J: 500 practices a trial make it a hundredth of the error allowed.
    """
    changes = {
        "safety": {"acute_rate": 0.35, "acute_rate_ratio": 2.0},
        "practices": {"number": 500, "counts": "random"},
    }
    batch = simulate(partners(changes), 60, 3, "", 0).observed()
    found = fit(batch)
    mean, error = found.estimate[0].mean(), found.estimate[0].std(ddof=1) / np.sqrt(60)
    assert abs(mean - 0.42) < Z * error
    inside = (found.ci_lower[0] < 0.42) & (found.ci_upper[0] > 0.42)
    assert abs(inside.mean() - 0.95) < Z * np.sqrt(0.95 * 0.05 / 60)


def test_covariates_play_no_part():
    needed = ("acute_treated",)  # of whom it is unknown which events began while treated, nothing can be counted
    assert EventRate(name="x", adjust=["region"]).spec() == Spec("acute_episodes", None, needed)
