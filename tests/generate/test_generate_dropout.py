"""Dropout of people and of whole practices."""

import numpy as np
import pytest
from scipy import stats
from simulated import assert_mean, assert_person_mean, by_practice, draw


@pytest.mark.parametrize("correlation", [-1.0, -0.2, 0.0, 0.6])
def test_the_rate_is_exact_whatever_the_correlation(correlation: float) -> None:
    batch = draw({"dropout": {"engagement_correlation": correlation, "died": 0.0}}, trials=2500)
    gone = batch.at("followed_up") == 0
    assert_mean(gone, 0.121, sharp=0.003)
    idle = batch.at("engagement") < 0
    # engagement and the tendency to stay are bivariate normal with the opposite correlation
    cov = [[1, -correlation], [-correlation, 1]]
    both = stats.multivariate_normal(cov=cov, allow_singular=True).cdf([stats.norm.ppf(0.121), 0.0])
    assert_mean(gone & idle, float(both), sharp=0.0025)


def test_a_negative_correlation_keeps_engaged_people() -> None:
    batch = draw({"dropout": {"engagement_correlation": -0.8}})
    gone, engagement = batch.at("followed_up") == 0, batch.at("engagement")
    assert engagement[gone].mean() < -1.0
    assert engagement[~gone].mean() > 0.1


@pytest.mark.parametrize(("rate", "practice_rate"), [(0.0, 0.1), (0.2, 0.3), (0.121, 0.0)])
def test_practices_are_lost_as_a_whole(rate: float, practice_rate: float) -> None:
    """A practice of n people is lost with probability p + (1 - p) rate^n; a person with p + (1 - p) rate."""
    options = {"rate": rate, "practice_rate": practice_rate, "engagement_correlation": 0.0, "died": 0.0}
    batch = draw({"dropout": options})
    stayed = batch.at("followed_up")
    assert_person_mean(stayed == 0, batch.index, practice_rate + (1 - practice_rate) * rate, sharp=0.015)
    people, left = batch.at("recruited", "practice"), by_practice(stayed, batch.index)
    lost = (left == 0) - (practice_rate + (1 - practice_rate) * rate**people)
    assert_mean(lost, 0.0, sharp=0.015)
    if rate == 0.0:
        assert np.all((left == 0) | (left == people))


def test_a_rate_of_zero_loses_nobody() -> None:
    assert draw({"dropout": {"rate": 0.0, "died": 0.0}}, trials=100).at("followed_up").all()


def test_dropout_hides_what_is_measured_at_followup_and_nothing_else() -> None:
    batch = draw({"missingness": {"baseline": 0.0, "followup": 0.0}}, trials=100)
    gone, seen = batch.at("followed_up") == 0, batch.observed()
    blank = {name for name in seen.columns if np.isnan(seen.at(name)[gone]).all()}
    at_followup = {name for name in seen.columns if name.endswith("_followup")}
    assert blank == {*at_followup, "followup_months", "in_window"}
    for name in ("mansa_followup", "followup_months", "in_window"):
        assert not np.isnan(seen.at(name)[~gone]).any()
