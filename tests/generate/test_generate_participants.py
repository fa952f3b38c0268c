"""Participants: age, sex, diagnosis and care provider."""

import numpy as np
import pytest
from scipy import stats
from simulated import assert_mean, assert_pair_mean, assert_person_mean, draw


def test_age_is_a_normal_cut_off_at_the_lowest_age() -> None:
    age = draw().at("age")
    theory = stats.truncnorm((18 - 53) / 13, np.inf, loc=53, scale=13)
    assert_mean(age, theory.mean(), sharp=0.2)
    assert_mean((age - theory.mean()) ** 2, theory.var(), sharp=3.0)
    assert age.min() >= 18
    assert np.array_equal(age, np.round(age, 1))


def test_a_high_lowest_age_moves_the_mean() -> None:
    """Half of the normal is cut off: mean 53 + 13 sqrt(2/pi)."""
    age = draw({"participants": {"age_min": 53.0}}).at("age")
    assert_mean(age, 53 + 13 * np.sqrt(2 / np.pi), sharp=0.2)


def test_sex_and_diagnosis_have_their_shares() -> None:
    batch = draw()
    assert_mean(batch.at("sex") == 0, 0.629, sharp=0.006)
    for code, people in enumerate((113, 43, 38)):
        assert_mean(batch.at("diagnosis") == code, people / 194, sharp=0.006)
    assert batch.columns["diagnosis"].categories == ("bipolar", "schizophrenia", "other")


@pytest.mark.parametrize("icc", [0.0, 0.15, 0.6])
def test_provider_clusters_by_practice_on_the_latent_scale(icc: float) -> None:
    """Two people of a practice are both under secondary care as often as a bivariate normal of correlation icc says."""
    batch = draw({"participants": {"provider_icc": icc}}, trials=2500)
    secondary = (batch.at("provider") == 1).astype(float)
    at = stats.norm.ppf(0.338)
    both = stats.multivariate_normal(cov=[[1, icc], [icc, 1]]).cdf([at, at])
    assert_person_mean(secondary, batch.index, 0.338, sharp=0.006)
    assert_pair_mean(secondary, batch.index, both, sharp=0.012)
