"""Missingness: incomplete scores of people who were seen."""

import numpy as np
from simulated import assert_mean, draw, partners

from simtrial.generate import simulate


def test_rates_and_independence() -> None:
    batch = draw({"missingness": {"baseline": 0.10, "followup": 0.25}})
    before, after = batch.at("baseline_complete") == 0, batch.at("followup_complete") == 0
    gone = batch.at("followed_up") == 0
    assert_mean(before, 0.10, sharp=0.005)
    assert_mean(after, 0.25, sharp=0.005)
    assert_mean(before & after, 0.025, sharp=0.003)
    assert_mean(after & gone, 0.25 * 0.121, sharp=0.003)


def test_missing_scores_do_not_depend_on_their_value() -> None:
    batch = draw({"missingness": {"baseline": 0.3, "followup": 0.3}})
    for mask, score in (("baseline_complete", "mansa_baseline"), ("followup_complete", "mansa_followup")):
        high = batch.at(score) > np.median(batch.at(score))
        assert_mean((batch.at(mask) == 0)[high], 0.3, sharp=0.01)


def test_each_mask_hides_its_own_score() -> None:
    batch = draw({"missingness": {"baseline": 0.3, "followup": 0.3}, "dropout": {"rate": 0.0}}, trials=50)
    seen = batch.observed()
    assert np.array_equal(np.isnan(seen.at("mansa_baseline")), batch.at("baseline_complete") == 0)
    assert np.array_equal(np.isnan(seen.at("mansa_followup")), batch.at("followup_complete") == 0)
    assert not np.isnan(seen.at("followup_months")).any()


def test_nothing_is_missing_without_the_two_stages() -> None:
    kept = {stage: step for stage, step in partners().items() if stage not in ("dropout", "missingness")}
    seen = simulate(kept, 20, 1, "", 0).observed()
    assert not np.isnan(seen.at("mansa_baseline")).any()
    assert not np.isnan(seen.at("mansa_followup")).any()
