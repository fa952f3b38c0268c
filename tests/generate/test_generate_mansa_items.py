"""MANSA made of item ratings: calibrated means and SDs, alpha, and scores over the items answered."""

from math import sqrt
from typing import Any

import numpy as np
import pytest
from scipy import stats
from simulated import assert_mean, assert_pair_mean, assert_person_mean, draw, drawn_by, partners

from simtrial.batch import TrialBatch
from simtrial.generate.outcomes.ratings import (
    item_statistics,
    prorate,
    rate,
    rating_curve,
    rating_sd,
    rating_spread,
)

ITEMS = {"form": "items"}


def rated(
    trials: int = 1000, baseline: dict[str, Any] | None = None, followup: dict[str, Any] | None = None
) -> TrialBatch:
    changes = {"baseline": {**ITEMS, **(baseline or {})}, "outcomes.mansa": {**ITEMS, **(followup or {})}}
    return draw(changes, trials, seed=8)


def test_item_statistics_as_published() -> None:
    """Alpha 0.81 and an item SD of 1.58 go with a score SD of 0.93 on 11 items; alpha by Spearman and Brown."""
    found = item_statistics(0.93, 1.34, 11)
    assert found.sd == pytest.approx(1.58, abs=0.005)
    assert found.correlation == pytest.approx(0.28, abs=0.005)
    assert found.alpha == pytest.approx(0.81, abs=0.005)
    assert found.alpha == pytest.approx(11 * found.correlation / (1 + 10 * found.correlation))


@pytest.mark.parametrize("spread", [0.3, 1.4, 5.0])
def test_the_rating_curve_is_the_mean_and_variance_of_rounded_and_clipped_ratings(spread: float) -> None:
    location, means, variances = rating_curve(spread, 1.0, 7.0)
    assert np.all(np.diff(means) >= 0)
    for at in (0.5, 1.0, 4.31, 6.8):
        k = np.arange(1, 8)
        edges = np.concatenate([[-np.inf], k[:-1] + 0.5, [np.inf]])
        p = np.diff(stats.norm.cdf((edges - at) / spread))
        assert np.interp(at, location, means) == pytest.approx(p @ k, abs=2e-3 * spread)
        assert np.interp(at, location, variances) == pytest.approx(p @ k**2 - (p @ k) ** 2, abs=2e-3 * spread)


@pytest.mark.parametrize(("wanted", "mean", "sd"), [(1.34, 4.31, 0.84), (1.0, 4.53, 0.9), (2.0, 3.0, 0.5)])
def test_the_spread_gives_the_sd_of_ratings_asked_for(wanted: float, mean: float, sd: float) -> None:
    spread = rating_spread(wanted, 1.0, 7.0, mean, sd)
    assert rating_sd(spread, 1.0, 7.0, mean, sd) == pytest.approx(wanted, abs=1e-9)
    rng = np.random.default_rng(5)
    score = np.clip(rng.normal(mean, sd, 40_000), 1, 7)
    ratings = rate(score, rng.standard_normal((40_000, 4)), spread, 1.0, 7.0)
    assert set(np.unique(ratings)) == set(range(1, 8))
    assert_mean((ratings - score[:, None]).mean(axis=1), 0.0, sharp=0.04)
    assert_mean(((ratings - score[:, None]) ** 2).mean(axis=1), wanted**2, sharp=0.1)


@pytest.mark.parametrize("score", [1.05, 1.6, 4.31, 6.2, 6.95])
def test_ratings_have_the_score_as_their_mean_even_near_the_ends(score: float) -> None:
    deviations = np.random.default_rng(3).standard_normal((100_000, 1))
    spread = rating_spread(1.34, 1.0, 7.0, 4.31, 0.84)
    assert_mean(rate(np.full(100_000, score), deviations, spread, 1.0, 7.0)[:, 0], score, sharp=0.03)


def test_baseline_keeps_its_mean_sd_and_icc() -> None:
    batch = rated(trials=2500, baseline={"icc": 0.2})
    score = batch.at("mansa_baseline") - 4.31
    assert_person_mean(score, batch.index, 0.0, sharp=0.02)
    assert_person_mean(score**2, batch.index, 0.93**2, sharp=0.025)
    assert_pair_mean(score, batch.index, 0.2 * 0.93**2, sharp=0.03)
    assert np.allclose(score * 11 % 1, (-4.31 * 11) % 1, atol=1e-6)


def test_followup_keeps_its_mean_slope_sd_icc_and_effect() -> None:
    """Residual variance to 1%: ratings are calibrated over the control arm; and the scale ends cut 0.4% of scores."""
    batch = rated(trials=2500, followup={"effect": 0.3, "effect_among": ""})
    before = batch.at("mansa_baseline") - 4.31
    left = batch.at("mansa_if_control") - 4.53 - 0.615 * before
    assert_person_mean(left, batch.index, 0.0, sharp=0.012)
    assert_person_mean(left * before, batch.index, 0.0, sharp=0.01)
    assert (left**2).mean() == pytest.approx(0.701**2, rel=0.01 + 0.009)  # 4.5 SE are 0.9%
    assert_pair_mean(left, batch.index, 0.18 * 0.701**2, sharp=0.012)
    effect = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert effect.mean() == pytest.approx(0.3, abs=0.003)
    assert np.all(effect >= 0)  # both outcomes share their deviations


def test_cronbachs_alpha_of_ratings_drawn() -> None:
    rng = np.random.default_rng(9)
    spread = rating_spread(1.34, 1.0, 7.0, 4.31, sqrt(0.93**2 - 1.34**2 / 11))
    score = rng.normal(4.31, sqrt(0.93**2 - 1.34**2 / 11), 100_000)
    ratings = rate(score, rng.standard_normal((100_000, 11)), spread, 1.0, 7.0)
    covariance = np.cov(ratings.T)
    alpha = 11 / 10 * (1 - np.trace(covariance) / covariance.sum())
    assert alpha == pytest.approx(0.81, abs=0.005)
    assert sqrt(np.trace(covariance) / 11) == pytest.approx(1.58, abs=0.015)


def test_prorating_by_hand() -> None:
    ratings = np.array([[1.0, 2.0, 6.0], [4.0, 4.0, 7.0], [2.0, 3.0, 4.0]])
    answered = np.array([[True, True, False], [False, False, True], [False, False, False]])
    score, scored = prorate(ratings, answered, needed=2)
    assert score.tolist() == [1.5, 5.0, 3.0]
    assert scored.tolist() == [True, False, False]
    assert prorate(ratings, answered, needed=1)[0].tolist() == [1.5, 7.0, 3.0]


def test_items_left_out_completely_at_random() -> None:
    """With 3% left out 28% miss one or more (published extremes); scores need 10 of 11 here; means are unmoved."""
    missing = {"item_missing": 0.03, "items_needed": 10}
    batch = rated(baseline=missing, followup=missing)
    complete = rated()
    for when in ("baseline", "followup"):
        answered, scored = batch.at(f"mansa_items_{when}"), batch.at(f"mansa_scored_{when}")
        assert_mean(answered < 11, 1 - 0.97**11, sharp=0.01)
        assert_mean(scored, float(stats.binom.cdf(1, 11, 0.03)), sharp=0.006)
        assert np.array_equal(scored == 1, answered >= 10)
        blank = np.isnan(batch.observed().column(f"mansa_{when}").values)
        assert np.all(blank[scored == 0])
    difference = batch.at("mansa_baseline") - complete.at("mansa_baseline")
    assert_person_mean(difference, batch.index, 0.0, sharp=0.002)
    # one of 11 left out: the mean of 10 moves by a deviation/10 less the mean's, variance D (1/10 - 1/11)
    one = batch.at("mansa_items_baseline") == 10
    assert (difference[one] ** 2).mean() == pytest.approx(1.34**2 * (1 / 10 - 1 / 11), rel=0.05)
    assert not difference[batch.at("mansa_items_baseline") == 11].any()


def test_what_happens_is_the_potential_outcome_where_all_items_are_answered() -> None:
    batch = rated(trials=200, followup={"item_missing": 0.05, "effect": 1.0})
    treated, all_items = batch.at("arm") == 1, batch.at("mansa_items_followup") == 11
    seen = np.where(treated, batch.at("mansa_if_intervention"), batch.at("mansa_if_control"))
    assert np.array_equal(batch.at("mansa_followup")[all_items], seen[all_items])
    assert np.any(batch.at("mansa_followup")[~all_items] != seen[~all_items])


def test_scores_that_cannot_be_formed_are_still_numbers_for_later_stages() -> None:
    batch = rated(trials=20, baseline={"item_missing": 0.7, "items_needed": 11})
    assert batch.at("mansa_scored_baseline").mean() < 0.01
    assert np.all(np.isfinite(batch.at("mansa_baseline")))
    assert np.all(np.isfinite(batch.at("mansa_followup")))


def test_a_baseline_equals_a_plain_loop_given_the_same_normals() -> None:
    step = partners({"baseline": {**ITEMS, "item_missing": 0.1, "items_needed": 9}})["baseline"]
    batch = draw(trials=2)
    batch = TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in step.adds()})
    found = drawn_by(step, batch, seed=12)
    rng = np.random.default_rng(12)
    people = batch.index.participants
    b, e = rng.standard_normal(batch.index.practices), rng.standard_normal(people)
    d, answered = rng.standard_normal((people, 11)), rng.random((people, 11)) >= 0.1
    noise = 1.34**2 / 11
    spread = rating_spread(1.34, 1.0, 7.0, 4.31, float(np.sqrt(0.93**2 - noise)))
    location, means, _ = rating_curve(spread, 1.0, 7.0)
    for i in range(people):
        score = 4.31 + 0.93 * 0.08**0.5 * b[batch.index.participant_practice[i]]
        score += (0.93**2 * 0.92 - noise) ** 0.5 * e[i]
        at = np.interp(min(max(score, 1), 7), means, location)
        given = [min(max(round(float(at + spread * d[i, k])), 1), 7) for k in range(11)]
        kept = [g for g, a in zip(given, answered[i], strict=True) if a]
        assert found["mansa_items_baseline"][i] == len(kept)
        expected = sum(kept) / len(kept) if len(kept) >= 9 else sum(given) / 11
        assert found["mansa_baseline"][i] == pytest.approx(expected, abs=1e-12)
