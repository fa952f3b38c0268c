"""Quality of life at baseline: mean, SD, intraclass correlation, and the recorded scale."""

import numpy as np
import pytest
from simulated import CONTINUOUS, assert_pair_mean, assert_person_mean, draw

from simtrial.generate.distributions.tables import record


@pytest.mark.parametrize("icc", [0.0, 0.08, 0.5])
def test_mean_variance_and_icc(icc: float) -> None:
    batch = draw({"baseline": {**CONTINUOUS, "icc": icc}}, trials=2500)
    score = batch.at("mansa_baseline") - 4.31
    assert_person_mean(score, batch.index, 0.0, sharp=0.02)
    assert_person_mean(score**2, batch.index, 0.93**2, sharp=0.025)
    assert_pair_mean(score, batch.index, icc * 0.93**2, sharp=0.03)


def test_recorded_scores_are_elevenths_on_the_scale() -> None:
    score = draw().at("mansa_baseline")
    assert np.allclose(score * 11, np.round(score * 11), atol=1e-9)
    assert score.min() >= 1
    assert score.max() <= 7
    assert len(np.unique(score)) > 60  # 67 elevenths between 1 and 7


def test_rounding_moves_a_score_by_at_most_half_a_step_and_adds_its_variance() -> None:
    exact = draw({"baseline": CONTINUOUS}).at("mansa_baseline")
    batch = draw({"baseline": {"items": 11, "lowest": -1e9, "highest": 1e9}})
    rounded = batch.at("mansa_baseline")
    assert np.abs(rounded - exact).max() <= 0.5 / 11 + 1e-12
    assert_person_mean((rounded - exact) ** 2, batch.index, 1 / (12 * 11**2), sharp=1e-5)


def test_record_by_hand() -> None:
    score = np.array([0.2, 1.02, 4.0, 4.06, 6.98, 9.0])
    assert record(score, 11, 1, 7).tolist() == pytest.approx([1, 1, 4, 45 / 11, 7, 7])
    assert record(score, 0, 1, 7).tolist() == [1, 1.02, 4.0, 4.06, 6.98, 7]
    assert record(score, 1, -100, 100).tolist() == [0, 1, 4, 4, 7, 9]
