"""Outcomes: the regression on baseline, both potential outcomes, whom the effect reaches, and when it is measured."""

from statistics import NormalDist

import numpy as np
import pytest
from simulated import (
    CONTINUOUS,
    assert_mean,
    assert_pair_mean,
    assert_person_mean,
    by_practice,
    draw,
    drawn_by,
    partners,
)

from simtrial.batch import TrialBatch
from simtrial.generate.outcomes.mansa import Mansa


def exact(seed: int = 1, trials: int = 1000, **options: object) -> TrialBatch:
    """Draw trials whose scores are neither rounded nor clipped."""
    return draw({"baseline": CONTINUOUS, "outcomes.mansa": {**CONTINUOUS, **options}}, trials, seed)


def residual(batch: TrialBatch) -> np.ndarray:
    """Deviation of the untreated outcome from mean + slope (baseline - 4.31) (participants,)."""
    return batch.at("mansa_if_control") - (4.53 + 0.615 * (batch.at("mansa_baseline") - 4.31))


@pytest.mark.parametrize("icc", [0.0, 0.18, 0.5])
def test_residual_mean_variance_and_icc(icc: float) -> None:
    batch = exact(icc=icc, trials=2500)
    left = residual(batch)
    assert_person_mean(left, batch.index, 0.0, sharp=0.012)
    assert_person_mean(left**2, batch.index, 0.701**2, sharp=0.015)
    assert_pair_mean(left, batch.index, icc * 0.701**2, sharp=0.02)


def test_the_slope_on_baseline() -> None:
    """The residual is uncorrelated with baseline, within practices and between them."""
    batch = exact(trials=2500)
    left, before = residual(batch), batch.at("mansa_baseline") - 4.31
    assert_person_mean(left * before, batch.index, 0.0, sharp=0.01)
    sums = by_practice(left, batch.index) * by_practice(before, batch.index)
    assert_mean(sums, 0.0, sharp=0.2)


def test_the_practice_effect_is_what_people_of_a_practice_share() -> None:
    batch = exact(icc=0.999999)
    assert np.allclose(residual(batch), batch.at("practice_effect"), atol=0.01)


def test_baseline_and_followup_correlate_as_published() -> None:
    """0.631 from three printed SDs, whose rounding moves it by at most 0.01; scores as recorded."""
    batch = draw(trials=2500)
    r = np.corrcoef(batch.at("mansa_baseline"), batch.at("mansa_if_control"))[0, 1]
    slope, before = 0.615, 0.93**2
    followup = slope**2 * before + 0.701**2
    assert r == pytest.approx(0.631, abs=0.01)
    # 2,500 trials of 198 people: SE (1 - r^2)/sqrt(495,000) = 0.0009, times 1.3 for clustering; rounding takes 0.0005
    assert r == pytest.approx(slope * before / np.sqrt(before * followup), abs=4.5 * 0.0012 + 0.0005)


@pytest.mark.parametrize("correlation", [-1.0, -0.4, 0.0, 0.7, 1.0])
def test_engagement_correlates_with_the_individual_part_and_leaves_its_variance(correlation: float) -> None:
    batch = exact(engagement_correlation=correlation)
    own = residual(batch) - batch.at("practice_effect")
    sd = 0.701 * np.sqrt(1 - 0.18)
    assert_person_mean(own * batch.at("engagement"), batch.index, correlation * sd, sharp=0.015)
    assert_person_mean(own**2, batch.index, sd**2, sharp=0.012)


def test_a_constant_effect_is_the_same_for_everyone() -> None:
    """Both potential outcomes share every draw, so their difference has no variance at all."""
    batch = exact(effect=0.45, effect_among="")
    effect = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert np.allclose(effect, 0.45, atol=1e-12)


def test_the_effect_reaches_only_those_named_whichever_arm_they_are_in() -> None:
    batch = exact(effect=0.45, effect_among="sessions >= 6")
    effect = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    reached = batch.at("sessions_offered") >= 6
    assert np.allclose(effect[reached], 0.45, atol=1e-12)
    assert not effect[~reached].any()
    assert reached[batch.at("arm") == 0].any()


def test_an_effect_among_a_practice_level_group() -> None:
    batch = exact(effect=-0.3, effect_among="practice_size == 'small' and not availability < 0.7")
    effect = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    reached = (batch.at("practice_size") == 0) & (batch.at("availability_offered") >= 0.7)
    assert np.allclose(effect[reached], -0.3, atol=1e-12)
    assert not effect[~reached].any()


def test_what_happens_is_the_potential_outcome_of_the_arm() -> None:
    batch = draw({"outcomes.mansa": {"effect": 0.9}}, trials=100)
    treated = batch.at("arm") == 1
    seen = batch.at("mansa_followup")
    assert np.array_equal(seen[treated], batch.at("mansa_if_intervention")[treated])
    assert np.array_equal(seen[~treated], batch.at("mansa_if_control")[~treated])
    assert np.any(seen[treated] != batch.at("mansa_if_control")[treated])


def test_region_and_size_shift_the_outcome_by_what_is_written() -> None:
    plain = exact(trials=50)
    shifted = exact(trials=50, region_effects={"Plymouth": 0.5, "Somerset": -1.0}, small_practice_effect=0.25)
    shift = shifted.at("mansa_if_control") - plain.at("mansa_if_control")
    expected = np.array([0, 0.5, 0, -1.0])[plain.at("region")] + 0.25 * (plain.at("practice_size") == 0)
    assert np.allclose(shift, expected, atol=1e-12)


def test_months_to_followup_and_the_window() -> None:
    """Printed: 54% in the window."""
    batch = draw()
    months = batch.at("followup_months")
    assert_mean(months, 10.0, sharp=0.02)
    assert_mean((months - 10.0) ** 2, 1.35**2, sharp=0.03)
    inside = 2 * NormalDist().cdf(1 / 1.35) - 1
    assert_mean(batch.at("in_window"), inside, sharp=0.006)
    assert inside == pytest.approx(0.54, abs=0.005)
    assert np.array_equal(batch.at("in_window") == 1, np.abs(months - 10) <= 1)


def test_recorded_outcomes_are_elevenths_on_the_scale() -> None:
    batch = draw({"outcomes.mansa": {"effect": 2.0}})
    for name in ("mansa_if_control", "mansa_if_intervention", "mansa_followup"):
        score = batch.at(name)
        assert np.allclose(score * 11, np.round(score * 11), atol=1e-9)
        assert score.min() >= 1
        assert score.max() <= 7


def test_the_formula_equals_a_plain_loop_given_the_same_normals() -> None:
    options = {**CONTINUOUS, "effect": 0.3, "effect_among": "sessions >= 6", "engagement_correlation": 0.4,
               "region_effects": {"Cornwall": 0.2}, "small_practice_effect": -0.1}  # fmt: skip
    step = partners({"outcomes.mansa": options})["outcomes.mansa"]
    assert isinstance(step, Mansa)
    batch = draw(trials=3)
    batch = TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in step.adds()})
    found = drawn_by(step, batch, seed=21)
    rng = np.random.default_rng(21)
    practice_normals = rng.standard_normal(batch.index.practices).tolist()
    own_normals = rng.standard_normal(batch.index.participants).tolist()
    for i in range(batch.index.participants):
        j = int(batch.index.participant_practice[i])
        y = 4.53 + 0.615 * (float(batch.at("mansa_baseline")[i]) - 4.31)
        y += {2: 0.2}.get(int(batch.at("region", "practice")[j]), 0.0)
        y += -0.1 if batch.at("practice_size", "practice")[j] == 0 else 0.0
        y += 0.701 * 0.18**0.5 * practice_normals[j]
        own = 0.4 * float(batch.at("engagement")[i]) + (1 - 0.4**2) ** 0.5 * own_normals[i]
        y += 0.701 * (1 - 0.18) ** 0.5 * own
        treated = y + (0.3 if batch.at("sessions_offered")[i] >= 6 else 0.0)
        assert found["mansa_if_control"][i] == pytest.approx(y, abs=1e-14 * 100)
        assert found["mansa_if_intervention"][i] == pytest.approx(treated, abs=1e-14 * 100)
