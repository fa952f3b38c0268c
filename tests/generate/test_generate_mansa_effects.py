"""Effects on MANSA: subgroups, effects that vary between practices or go with size, the pandemic; and timing."""

from typing import Any

import numpy as np
import pytest
from simulated import (
    CONTINUOUS,
    assert_mean,
    assert_pair_mean,
    assert_person_mean,
    assert_ratio,
    by_practice,
    draw,
    drawn_by,
    partners,
)

from simtrial.batch import Column, TrialBatch
from simtrial.estimands import Estimand, contributions
from simtrial.generate.distributions.tables import truncated_negative_binomial, truncated_shape
from simtrial.generate.outcomes.effects import subgroup
from simtrial.generate.practices.log_sizes import log_size_moments

BETWEEN = 0.701 * np.sqrt(0.18)


def exact(trials: int = 200, **options: Any) -> TrialBatch:
    """Draw trials whose scores are neither rounded nor clipped, without an effect unless asked for."""
    none = {**CONTINUOUS, "effect": 0.0, "effect_among": ""}
    return draw({"baseline": CONTINUOUS, "outcomes.mansa": {**none, **options}}, trials, seed=6)


def followed(trials: int = 200, **options: Any) -> TrialBatch:
    """Draw trials whose practices also have a register, a month of allocation and a period of follow-up."""
    whole = partners({"outcomes.mansa": {**CONTINUOUS, "effect": 0.0, "effect_among": "", **options}})
    step = whole["outcomes.mansa"].settled(whole)
    batch = draw({"baseline": CONTINUOUS}, trials, seed=6)
    rng = np.random.default_rng(60)
    practices = batch.index.practices
    added = {
        "register_size": Column(np.exp(rng.normal(4.2, 0.6, practices)), "practice"),
        "allocation_month": Column(rng.uniform(0, 24, practices), "practice"),
        "period": Column(rng.integers(0, 2, practices), "practice", ("pre", "during")),
    }
    before = TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in {*step.adds(), *added}}).add(
        added
    )
    values = drawn_by(step, before, seed=61)
    promised = step.adds()
    assert set(values) == set(promised)
    return before.add({n: Column(values[n], v.level, v.categories, v.latent, v.hides) for n, v in promised.items()})


def unit_effect(batch: TrialBatch) -> np.ndarray:
    return batch.at("mansa_if_intervention") - batch.at("mansa_if_control")


def test_subgroup_effects_add_to_the_effect() -> None:
    effects = {
        "region=Cornwall": 0.2,
        "practice_size = small": -0.1,
        "diagnosis=bipolar": 0.05,
        "provider=secondary": 1,
    }
    batch = exact(effect=0.3, subgroup_effects=effects)
    expected = 0.3 + 0.2 * (batch.at("region") == 2) - 0.1 * (batch.at("practice_size") == 0)
    expected = expected + 0.05 * (batch.at("diagnosis") == 0) + 1.0 * (batch.at("provider") == 1)
    assert np.allclose(unit_effect(batch), expected, atol=1e-12)
    assert len(np.unique(np.round(unit_effect(batch), 6))) == 16


def test_a_subgroup_of_a_number_and_one_of_what_is_received() -> None:
    assert subgroup("region=Cornwall") == "region == 'Cornwall'"
    batch = exact(subgroup_effects={"sessions=0": -0.5})
    assert np.allclose(unit_effect(batch), -0.5 * (batch.at("sessions_offered") == 0), atol=1e-12)


def test_every_part_of_the_effect_reaches_only_those_named() -> None:
    options = {"effect": 0.3, "subgroup_effects": {"region=Cornwall": 0.2}, "effect_sd": 0.4, "size_effect": 0.1}
    everyone, some = exact(**options), exact(**options, effect_among="sessions >= 6")
    reached = some.at("sessions_offered") >= 6
    assert np.allclose(unit_effect(some), unit_effect(everyone) * reached, atol=1e-12)


@pytest.mark.parametrize("correlation", [-0.7, 0.0, 1.0])
def test_effects_that_vary_between_practices(correlation: float) -> None:
    """Mean effect, SD between practices and correlation with the practice effect; the ICC under treatment follows.

    var(u + w) = var u + tau^2 + 2 r tau sd(u) is shared by people of a practice in the intervention arm.
    """
    tau = 0.25
    batch = exact(trials=2500, effect=0.3, effect_sd=tau, effect_practice_correlation=correlation)
    w, u = batch.at("effect_deviation", "practice"), batch.at("practice_effect", "practice")
    assert np.allclose(unit_effect(batch), 0.3 + batch.at("effect_deviation"), atol=1e-12)
    assert_mean(w, 0.0, sharp=0.005)
    assert_mean(w**2, tau**2, sharp=0.002)
    assert_mean(w * u, correlation * tau * BETWEEN, sharp=0.002)
    rest = batch.at("mansa_if_intervention") - 4.83 - 0.615 * (batch.at("mansa_baseline") - 4.31)
    assert_pair_mean(rest, batch.index, BETWEEN**2 + tau**2 + 2 * correlation * tau * BETWEEN, sharp=0.012)


def test_an_effect_that_varies_leaves_the_untreated_outcome_alone() -> None:
    plain, other = exact(), exact(effect_sd=0.5)
    for name in ("mansa_if_control", "practice_effect", "followup_months"):
        assert np.array_equal(plain.at(name), other.at(name))


def test_log_size_moments_are_those_of_the_sizes_drawn() -> None:
    mean, sd = log_size_moments(5.08, 0.62)
    assert (round(mean, 3), round(sd, 3)) == (1.418, 0.681)
    logs = np.log(exact(trials=1000).at("recruited", "practice"))
    assert_mean(logs, mean, sharp=0.02)
    assert_mean((logs - mean) ** 2, sd**2, sharp=0.02)
    assert log_size_moments(6.0, 0.0) == (pytest.approx(np.log(6)), 0.0)


def averages(batch: TrialBatch) -> tuple[float, float]:
    """Average effect over people and over practices."""
    found = []
    for unit in ("participant", "cluster"):
        numerator, denominator = contributions(Estimand(name="x", response="mansa", kind="itt", unit=unit), batch)
        found.append(numerator.sum() / denominator.sum())
    return found[0], found[1]


@pytest.mark.parametrize(
    "options", [{"size_effect": 0.2}, {"size_effect": -0.1, "effect_sd": 0.3}, {"effect": 0.4}, {"size_outcome": 0.5}]
)
def test_averages_over_people_and_over_practices_differ_by_a_covariance(options: dict[str, float]) -> None:
    """Delta_I - Delta_C = cov(n_j, mean effect of j)/mean n_j, exactly in any set of trials."""
    batch = exact(**options)
    n = batch.at("recruited", "practice")
    delta = by_practice(unit_effect(batch), batch.index) / n
    of_people, of_practices = averages(batch)
    identity = ((n * delta).mean() - n.mean() * delta.mean()) / n.mean()
    assert of_people - of_practices == pytest.approx(identity, abs=1e-12)
    informative = "size_effect" in options
    assert (abs(identity) > 0.02) == informative


def test_informative_size_has_the_averages_theory_gives() -> None:
    """Per SD of log size: 0 over practices; over people size_effect cov(n, log n)/(sd(log n) E n)."""
    batch = exact(trials=1000, effect=0.3, size_effect=0.2)
    cumulative = truncated_negative_binomial(*truncated_shape(5.08, 0.62))
    p, n = np.diff(cumulative, prepend=0), np.arange(1, len(cumulative) + 1)
    centre, sd = log_size_moments(5.08, 0.62)
    gain = 0.2 * (p @ (n * (np.log(n) - centre))) / sd / 5.08
    index = batch.index
    assert_mean(0.3 + 0.2 * (np.log(batch.at("recruited", "practice")) - centre) / sd, 0.3, sharp=0.01)
    assert_person_mean(unit_effect(batch), index, 0.3 + gain, sharp=0.01)
    assert gain == pytest.approx(0.11, abs=0.01)


def test_size_and_register_shift_the_outcome_by_what_is_written() -> None:
    plain = followed()
    written = {"size_log_mean": 1.418, "size_log_sd": 0.681, "register_log_mean": 4.2, "register_log_sd": 0.6}
    moved = followed(size_outcome=0.3, register_outcome=-0.2, **written)
    z = (np.log(plain.at("recruited")) - 1.418) / 0.681
    register = (np.log(plain.at("register_size")) - 4.2) / 0.6
    shift = moved.at("mansa_if_control") - plain.at("mansa_if_control")
    assert np.allclose(shift, 0.3 * z - 0.2 * register, atol=1e-12)
    assert not unit_effect(moved).any()


def test_the_effect_goes_with_the_register() -> None:
    batch = followed(register_effect=0.2, effect=0.1, register_log_mean=4.0, register_log_sd=0.5)
    z = (np.log(batch.at("register_size")) - 4.0) / 0.5
    assert np.allclose(unit_effect(batch), 0.1 + 0.2 * z, atol=1e-12)


def test_the_pandemic_shifts_both_arms_and_adds_to_the_effect() -> None:
    plain, other = followed(), followed(pandemic_effect=-0.4, pandemic_interaction=0.37, effect=0.1)
    late = plain.at("period") == 1
    assert np.allclose(other.at("mansa_if_control") - plain.at("mansa_if_control"), -0.4 * late, atol=1e-12)
    assert np.allclose(unit_effect(other), 0.1 + 0.37 * late, atol=1e-12)
    assert 0.3 < late.mean() < 0.7


def test_those_allocated_late_are_followed_up_earlier() -> None:
    plain, other = followed(), followed(short_followup_from=18.0)
    late = other.at("allocation_month") >= 18
    assert np.allclose(other.at("followup_months"), plain.at("followup_months") - late, atol=1e-12)
    assert np.array_equal(plain.at("in_window"), other.at("in_window"))  # the window moves along
    assert_ratio(other.at("followup_months") * late, late, 9.0, sharp=0.1)
    assert np.array_equal(plain.at("mansa_followup"), other.at("mansa_followup"))


def test_options_left_out_read_nothing_more() -> None:
    assert partners()["outcomes.mansa"].reads() == {"arm", "mansa_baseline", "sessions"}
