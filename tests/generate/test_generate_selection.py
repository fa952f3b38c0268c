"""Dropout that goes with covariates, sessions, the outcome, its change or the practice: rates, slopes, refusals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated import CONTINUOUS, Z, assert_mean, draw, draw_when_asked, drawn_by, partners

from simtrial.batch import TrialBatch
from simtrial.errors import ScenarioError
from simtrial.generate import Variable, variables
from simtrial.generate.missing.dropout import Dropout
from simtrial.generate.missing.dropout_model import PRACTICES, threshold

CLEAN: Mapping[str, Mapping[str, Any]] = {
    "baseline": CONTINUOUS,
    "outcomes.mansa": {**CONTINUOUS, "effect": 0.0},
    "missingness": {"baseline": 0.0, "followup": 0.0},
}
NONE = {"engagement_correlation": 0.0, "died": 0.0}


def selected(options: Mapping[str, Any], trials: int = 1500) -> TrialBatch:
    """Trials with scores that are neither rounded nor clipped, and dropout settled in their mechanism."""
    whole = dict(partners({**CLEAN, "dropout": {**NONE, **options}}))
    step = whole["dropout"]
    assert isinstance(step, Dropout)
    whole["dropout"] = step.settled(whole)
    return draw_when_asked(whole, trials, 1)


def gone(batch: TrialBatch) -> Any:
    return batch.at("followed_up") == 0


def outcome(batch: TrialBatch) -> Any:
    return batch.at("mansa_followup")


MECHANISMS: list[dict[str, Any]] = [
    {"slopes": {"mansa_baseline": -0.8}},
    {"slopes": {"mansa_baseline": -0.3, "provider=secondary": 0.9, "practice_size=small": 0.5}},
    {"slopes": {"mansa_baseline": -0.8}, "slopes_intervention": {"mansa_baseline": 0.8}},
    {"sessions_slope": -1.0},
    {"outcome_slope": -1.0},
    {"outcome_slope": -0.5, "outcome_slope_intervention": 0.7},
    {"change_slope": 0.7},
    {"practice_effect_slope": -1.0},
    {"outcome_slope": 0.6, "sessions_slope": -0.4, "engagement_correlation": 0.5},
    {"outcome_slope": 0.6, "engagement_correlation": -1.0},
]


@pytest.mark.parametrize("options", MECHANISMS, ids=str)
def test_each_arm_has_its_rate(options: dict[str, Any]) -> None:
    """Within the error of the trials, and of the population the threshold is found in (practices as the unit)."""
    batch = selected({**options, "rate": 0.2, "rate_intervention": 0.35})
    for arm, rate in ((0, 0.2), (1, 0.35)):
        lost = gone(batch)[batch.at("arm") == arm]
        people = batch.index.participant_practice[batch.at("arm") == arm]
        off = np.bincount(people, weights=lost - rate, minlength=batch.index.practices)
        error = np.sqrt((off**2).sum()) / len(lost)
        known = error * np.sqrt(batch.index.practices / PRACTICES)
        assert error < 0.003
        assert abs(lost.mean() - rate) < Z * np.hypot(error, known)


def test_without_a_rate_of_its_own_the_intervention_arm_loses_as_many() -> None:
    batch = selected({"slopes_intervention": {"mansa_baseline": 1.5}, "rate": 0.121})
    for arm in (0, 1):
        assert_mean(gone(batch)[batch.at("arm") == arm], 0.121, sharp=0.005)


@pytest.mark.parametrize(
    ("options", "score", "slope"),
    [
        ({"slopes": {"mansa_baseline": -0.8}}, "mansa_baseline", -0.8),
        ({"outcome_slope": -1.0}, "mansa_followup", -1.0),
        ({"change_slope": 0.7}, "change", 0.7),
    ],
)
def test_a_slope_is_per_sd_on_the_probit_scale(options: dict[str, Any], score: str, slope: float) -> None:
    """With a normal x, P(gone | x) = Phi(slope x + Phi^-1(rate) sqrt(1 + slope^2)), and the mean of x among the lost
    is slope / sqrt(1 + slope^2) phi(k)/rate with k = Phi^-1(rate)."""
    batch = selected({**options, "rate": 0.2})
    x = outcome(batch) - batch.at("mansa_baseline") if score == "change" else batch.at(score)
    x = (x - x.mean()) / x.std()
    lost = gone(batch)
    k = stats.norm.ppf(0.2)
    expected = slope / np.sqrt(1 + slope**2) * stats.norm.pdf(k) / 0.2
    assert_mean(x[lost] - expected, 0.0, sharp=0.02)
    chance = stats.norm.cdf(slope * x + k * np.sqrt(1 + slope**2))
    for low, high in ((-9, -1), (-1, 0), (0, 1), (1, 9)):
        among = (x > low) & (x <= high)
        assert_mean((lost - chance)[among], 0.0, sharp=0.012)


def test_slopes_may_differ_by_arm_and_category() -> None:
    batch = selected(
        {"slopes": {"provider=secondary": 0.9}, "slopes_intervention": {"provider=secondary": -0.9}, "rate": 0.2}
    )
    second = batch.at("provider") == 1
    for arm, slope in ((0, 0.9), (1, -0.9)):
        here = batch.at("arm") == arm
        rates = [stats.norm.ppf(gone(batch)[here & (second == s)].mean()) for s in (False, True)]
        assert rates[1] - rates[0] == pytest.approx(slope, abs=0.06)  # probit of rates 0.1-0.4 of 20,000+: SE 0.012


def test_sessions_matter_in_the_intervention_arm_only() -> None:
    batch = selected({"sessions_slope": -1.0, "rate": 0.2})
    few = batch.at("sessions_offered") < 6
    lost, arm = gone(batch), batch.at("arm")
    assert_mean(lost[few & (arm == 0)], 0.2, sharp=0.02)
    assert lost[few & (arm == 1)].mean() > 0.35


def test_a_practice_effect_drives_dropout_of_whole_practices() -> None:
    """Corr over practices: u enters each person's score with slope b, so P(gone | u) = Phi(b u - c)."""
    batch = selected({"practice_effect_slope": 1.0, "rate": 0.2})
    u = batch.at("practice_effect")
    chance = stats.norm.cdf(u / u.std() + stats.norm.ppf(0.2) * np.sqrt(2))
    for low, high in ((-9, -0.3), (-0.3, 0.3), (0.3, 9)):
        among = (u > low) & (u <= high)
        assert_mean((gone(batch) - chance)[among], 0.0, sharp=0.01)


def test_the_threshold_is_the_exact_one_for_normal_scores() -> None:
    scores = 0.7 * stats.norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    expected = stats.norm.ppf(0.9) * np.sqrt(0.7**2 + 0.8**2)
    assert threshold(scores, 0.8, 0.1) == pytest.approx(expected, abs=1e-4)
    assert threshold(scores, 0.8, 0.0) == np.inf
    assert threshold(scores, 0.0, 0.1) == pytest.approx(stats.norm.ppf(0.9) * 0.7, abs=1e-4)


def test_thresholds_are_the_same_in_every_block_and_found_once() -> None:
    whole = partners({"dropout": {"outcome_slope": 1.0}})
    step = whole["dropout"]
    assert isinstance(step, Dropout)
    first, second = step.settled(whole), step.settled(dict(whole))
    assert first._calibration is second._calibration
    other = partners({"dropout": {"outcome_slope": 1.0}, "outcomes.mansa": {"residual_sd": 1.4}})
    assert step.settled(other)._calibration != first._calibration


def test_options_that_are_off_leave_the_draws_as_they_were() -> None:
    """The stage's first draws: a normal per person, a uniform per practice."""
    options = {"rate": 0.2, "practice_rate": 0.1}
    batch = draw(trials=20)
    found = drawn_by(Dropout.model_validate(options), batch)
    rng = np.random.default_rng(1)
    stays = rng.standard_normal(batch.index.participants) <= stats.norm.ppf(0.8)
    kept = rng.random(batch.index.practices) >= 0.1
    assert np.array_equal(found["followed_up"], stays & kept[batch.index.participant_practice])
    assert not found["died"].any()
    more = drawn_by(Dropout.model_validate({**options, "rate_intervention": 0.2}), batch)
    assert np.array_equal(found["followed_up"], more["followed_up"])


def test_the_dead_and_those_withdrawn_are_part_of_the_rate() -> None:
    batch = selected({"rate": 0.2, "died": 0.05, "withdrawn_before_baseline": 0.08})
    died, withdrew = batch.at("died") == 1, batch.at("seen_at_baseline") == 0
    assert_mean(gone(batch), 0.2, sharp=0.004)
    assert_mean(died, 0.05, sharp=0.003)
    assert_mean(withdrew, 0.08, sharp=0.003)
    assert not (died & withdrew).any()
    assert gone(batch)[died | withdrew].all()
    seen = batch.observed()
    assert np.array_equal(np.isnan(seen.at("mansa_baseline")), withdrew)
    assert np.isnan(seen.at("mansa_followup")[died]).all()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rate": 0.02, "died": 0.05}, r"rate = 0.02 cannot be reached.*\[0.05, 0.999999\]"),
        (
            {"rate_intervention": 0.01, "withdrawn_before_baseline": 0.03},
            r"rate_intervention = 0.01.*\[0.03, 0.999999\]",
        ),
        ({"died": 0.6, "withdrawn_before_baseline": 0.5, "rate": 0.9}, "add up to 1.1"),
        ({"slopes": {"mansa_baseline": 9.0}}, "less than or equal to 5"),
        ({"rate": 0.9999999, "outcome_slope": 1.0}, r"0.9999999 leaves fewer than one .* in \[0, 0.999999\]"),
        ({"rate_intervention": 0.9999999}, "fewer than one person in a million"),
        ({"practice_rate": 0.9999995}, "fewer than one person in a million"),
        ({"practice_rate": 0.999, "rate": 0.9995}, "rate and practice_rate together: 0.9999995"),
    ],
)
def test_rates_out_of_reach_are_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Dropout.model_validate(options)


@pytest.mark.parametrize("options", [{"rate": 0.999999}, {"rate": 0.999, "practice_rate": 0.999}])
def test_one_person_in_a_million_may_be_left(options: dict[str, float]) -> None:
    assert Dropout.model_validate(options).rate == options["rate"]


def test_a_rate_near_one_is_met_under_a_slope_on_the_outcome() -> None:
    """One in a thousand of 297,000 people is seen, with a variance at most doubled by practices.

    The chance of staying, Phi(sqrt(2) Phi^-1(0.001) - x), has a coefficient of variation of 7.3 over people: its mean
    in the 50,000 people of an arm that a threshold is found in has a relative error of 7.3 sqrt(2/50,000) = 4.6%.
    """
    batch = selected({"outcome_slope": 1.0, "rate": 0.999})
    seen, people = int((~gone(batch)).sum()), batch.index.participants
    expected = 0.001 * people
    assert abs(seen - expected) < Z * np.hypot(np.sqrt(2 * expected), 0.046 * expected)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("provider", "write for example 'provider=primary'"),
        ("provider=tertiary", "unknown category of provider 'tertiary'"),
        ("age=40", "'age' is a number"),
        ("mansa_followup", "write outcome_slope"),
        ("engagement", "latent"),
    ],
)
def test_slopes_that_mean_nothing_are_refused(key: str, said: str) -> None:
    available: dict[str, Variable] = variables(partners())
    ((where, message),) = Dropout.model_validate({"slopes": {key: 0.1}}).problems(available)
    assert where == f"slopes.{key}"
    assert said in message


def test_a_slope_on_what_does_not_vary_is_refused() -> None:
    whole = partners(
        {"practices": {"cluster_size_cv": 0, "cluster_size_mean": 5.0}, "dropout": {"slopes": {"recruited": 1.0}}}
    )
    step = whole["dropout"]
    assert isinstance(step, Dropout)
    with pytest.raises(ScenarioError, match="does not vary"):
        step.settled(whole)
