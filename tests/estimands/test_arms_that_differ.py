"""Arms that differ in spread: allocation moves nobody but through the effect, and true values stay exact.

What goes with engagement or with baseline is the same number of points in either arm; the rest is stretched. With
v_a = c sd_0 g + sqrt(sd_a^2 - c^2 sd_0^2) z, z independent of g: E[v_1 - v_0 given g] = 0.
"""

from math import exp, pi, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from simulated import CONTINUOUS, Z, assert_pair_mean, assert_person_mean, draw, draw_when_asked, partners

from simtrial import estimands
from simtrial.batch import TrialBatch
from simtrial.estimands import Estimand, in_simulated_practices, sample_values, true_values, values
from simtrial.generate import Mechanism, drawn_for, simulate
from simtrial.generate.column_names import MANSA
from simtrial.generate.worlds import without_chance

ITT = Estimand(name="itt", response="mansa", kind="itt")
CLUSTERS = Estimand(name="clusters", response="mansa", kind="itt", unit="cluster")
CACE = Estimand(name="cace", response="mansa", kind="cace", received="sessions >= 6")
LOW = Estimand(name="low", response="mansa", kind="subgroup", among="mansa_baseline < 4")
EVERYONE = Estimand(name="everyone", response="mansa", kind="full-availability")
KEPT = Estimand(name="kept", response="mansa", kind="per-protocol", keep="arm == 0 or sessions >= 6")

REACHED = {"effect": 0.298, "effect_among": "sessions >= 6"}
ODD: dict[str, dict[str, Any]] = {
    "larger SD": {"residual_sd_intervention": 1.1, "engagement_correlation": 0.3},
    "smaller SD": {"residual_sd_intervention": 0.4, "engagement_correlation": -0.5},
    "ICC alone": {"icc_intervention": 0.5, "engagement_correlation": 0.6},
    "both, engagement all there is": {
        "residual_sd_intervention": 2.0, "icc_intervention": 0.05, "engagement_correlation": 1.0,
    },
    "practices go with baseline": {
        "residual_sd_intervention": 1.5, "cluster_autocorrelation": 0.7, "engagement_correlation": 0.2,
    },
    "skewed and heavy-tailed": {
        "residual_sd_intervention": 0.9, "icc_intervention": 0.3, "engagement_correlation": 0.3,
        "residuals": "skewed", "practice_effects": "t", "residual_skewness": 2.0,
    },
}  # fmt: skip
DELIVERY = {"engagement_baseline": 0.5, "engagement_icc": 0.2}


def world(options: dict[str, Any], **more: Any) -> Mechanism:
    """Partners whose engagement goes with baseline and practice, and whose arms differ in spread."""
    return partners({"outcomes.mansa": {**REACHED, **options, **more}, "delivery": DELIVERY, "baseline": {"icc": 0.2}})


@pytest.fixture(autouse=True)
def _less_effort(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "PRACTICES", 20_000)


@pytest.mark.parametrize("options", ODD.values(), ids=ODD)
def test_nobody_is_moved_by_allocation_alone(options: dict[str, Any]) -> None:
    """Mean difference 0 among those not reached, and the effect among those reached (z 4.5: 7e-6 per check)."""
    batch = simulate(world({**CONTINUOUS, **options}), 500, 3, "", 0)
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    reached = batch.at("sessions_offered") >= 6
    index = batch.index
    for who, effect in ((reached, 0.298), (~reached, 0.0)):
        assert_person_mean((difference - effect) * who / who.mean(), index, 0.0, sharp=0.05)
    chance = batch.at(MANSA.residual_difference)
    assert np.allclose(difference - chance, 0.298 * reached, rtol=0, atol=1e-12)
    for part in (batch.at("engagement"), batch.at("mansa_baseline") - 4.31, batch.at("baseline_practice_score")):
        assert_person_mean(chance * part, index, 0.0, sharp=0.06)


@pytest.mark.parametrize("options", ODD.values(), ids=ODD)
def test_true_values_are_those_of_the_mechanism_without_error(options: dict[str, Any]) -> None:
    mechanism = world({**CONTINUOUS, **options})
    found = {t.estimand: t for t in true_values([CACE, EVERYONE], mechanism, 1, "")}
    assert [(t.value, t.mcse) for t in found.values()] == [(0.298, 0.0)] * 2
    all_reached = world({**CONTINUOUS, **options}, effect=1.0, effect_among="")
    for true in true_values([ITT, CLUSTERS, CACE, LOW], all_reached, 1, ""):
        assert (true.value, true.mcse) == (1.0, 0.0), true


@pytest.mark.parametrize("options", [ODD["larger SD"], ODD["smaller SD"], ODD["practices go with baseline"]])
def test_the_sd_and_icc_of_either_arm_are_those_stated(options: dict[str, Any]) -> None:
    """Total and shared variance given baseline where nobody shares through engagement."""
    changed = {**CONTINUOUS, **options, "effect": 0.0, "baseline_slope": 0.0}
    batch = draw_when_asked(partners({"outcomes.mansa": changed, "baseline": {"icc": 0.2}}), 1500, 4)
    for arm, sd in (("control", 0.701), ("intervention", options["residual_sd_intervention"])):
        residual = batch.at(f"mansa_if_{arm}") - 4.53
        assert_person_mean(residual**2, batch.index, sd**2, sharp=0.03 * sd**2)
        assert_pair_mean(residual, batch.index, 0.18 * sd**2, sharp=0.03 * sd**2)
    engaged = batch.at("engagement") * (batch.at("mansa_if_intervention") - 4.53)
    assert_person_mean(engaged, batch.index, options["engagement_correlation"] * 0.701 * sqrt(0.82), sharp=0.05)


def clipped_mean(mean: float, sd: float, lowest: float, highest: float) -> float:
    """Mean of a normal kept between two bounds: sum of the parts below, between and above."""
    normal = NormalDist()
    a, b = (lowest - mean) / sd, (highest - mean) / sd
    inside = mean * (normal.cdf(b) - normal.cdf(a)) + sd * (exp(-a * a / 2) - exp(-b * b / 2)) / sqrt(2 * pi)
    return lowest * normal.cdf(a) + highest * (1 - normal.cdf(b)) + inside


@pytest.mark.parametrize(("sd", "mean", "effect"), [(1.5, 4.53, 1.0), (0.4, 6.0, 0.5), (3.0, 2.0, 0.0)])
def test_ends_of_the_scale_move_the_mean_as_derived(sd: float, mean: float, effect: float) -> None:
    """E clip(N(m + d, s1)) - E clip(N(m, s0)): simulated, for no shortcut is right there; error stated."""
    step = {"items": 0, "lowest": 1.0, "highest": 7.0, "baseline_slope": 0.0, "mean": mean, "effect": effect,
            "effect_among": "", "residual_sd_intervention": sd}  # fmt: skip
    found = true_values([ITT], partners({"outcomes.mansa": step}), 1, "")[0]
    right = clipped_mean(mean + effect, sd, 1, 7) - clipped_mean(mean, 0.701, 1, 7)
    assert 0 < found.mcse < 0.01
    assert abs(found.value - right) < Z * found.mcse
    assert abs(right - effect) > Z * found.mcse  # the shortcut would be wrong


RECORDED: dict[str, dict[str, Any]] = {
    "cut": {"items": 0, "lowest": 3.0, "highest": 5.5},
    "rounded": {"items": 2},
    "made of items": {"form": "items", "items": 11},
    "effects by size and subgroup": {"size_effect": 0.3, "subgroup_effects": {"provider=secondary": -0.2}},
    "effects by practice": {"effect_sd": 0.4, "effect_practice_correlation": -0.8},
}


@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED)
@pytest.mark.parametrize("estimand", [ITT, CACE, LOW, KEPT], ids=lambda e: e.name)
def test_leaving_out_chance_moves_no_true_value(recorded: dict[str, Any], estimand: Estimand) -> None:
    """Both ways on the same practices: they differ by the mean of what is left out, 0 to 4.5 of its errors."""
    batch = simulate(world(ODD["skewed and heavy-tailed"], **recorded), 500, 5, "", 0)
    parts = [estimands.contributions(estimand, b) for b in (batch, without_chance(batch))]
    difference, error = estimands.ratio(parts[0][0] - parts[1][0], parts[0][1])
    assert 0 < error < 0.02
    assert abs(difference) < Z * error


def test_leavers_shifts_are_part_of_the_value() -> None:
    """ITT gains d1 P(leave in 1) - d0 P(leave in 0) whatever the spreads."""
    changes = {
        "outcomes.mansa": {**CONTINUOUS, "effect": 0.2, "effect_among": "", "residual_sd_intervention": 1.2,
                           "leavers_shift_control": -0.5, "leavers_shift_intervention": -1.0},
        "dropout": {"drawn_first": True, "rate": 0.2, "rate_intervention": 0.3, "slopes": {}, "sessions_slope": 0.0,
                    "engagement_correlation": 0.0, "died": 0.0, "withdrawn_before_baseline": 0.0},
    }  # fmt: skip
    found = true_values([ITT], partners(changes), 1, "")[0]
    assert 0 < found.mcse < 0.005
    assert abs(found.value - (0.2 - 1.0 * 0.3 + 0.5 * 0.2)) < Z * found.mcse


def test_a_trials_own_value_keeps_what_chance_adds() -> None:
    own = Estimand(name="own", response="mansa", kind="itt", finite=True)
    batch = draw({"outcomes.mansa": {**CONTINUOUS, "residual_sd_intervention": 1.1, "effect": 0.3}}, trials=20)
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    of = batch.index.participant_trial
    means = np.bincount(of, weights=difference) / np.bincount(of)
    assert np.allclose(sample_values(own, batch), means, rtol=0, atol=1e-12)
    found = true_values([own], partners({"outcomes.mansa": {**CONTINUOUS, "residual_sd_intervention": 1.1}}), 1, "")
    assert found[0].mcse > 0


def test_what_few_practices_say_is_not_taken_as_exact() -> None:
    """One person has the most sessions: their effect varies with their practice, yet one practice shows no spread."""
    mechanism = partners({"outcomes.mansa": {**CONTINUOUS, "effect_sd": 0.5, "effect": 0.3}})
    needed = drawn_for(mechanism, frozenset({"mansa_if_control", "sessions"}), masks=False)
    blocks = [simulate(needed, 171, 1, "", b, purpose="true values: ").at("sessions_offered") for b in (0, 1, 2)]
    most, next_most = np.sort(np.concatenate(blocks))[-1:-3:-1]
    assert most > next_most
    few = Estimand(name="few", response="mansa", kind="cace", received=f"sessions >= {most:.0f}")
    found = in_simulated_practices([few], mechanism, 1, "")[0]
    assert abs(found.value - 0.3) > 0.01
    assert np.isnan(found.mcse)


@pytest.mark.parametrize(
    ("mcse", "concerned", "expected"),
    [(0.0, 1, np.nan), (0.0, 99, np.nan), (0.0, 100, 0.0), (1e-17, 10_000, 0.0), (1e-13, 10_000, 1e-13)],
)
def test_when_an_effect_counts_as_the_same_in_all(mcse: float, concerned: int, expected: float) -> None:
    """Outcomes up to 7 round at 1.6e-15; a spread of 1e-11 between practices is real."""
    assert values._exact(0.45, mcse, concerned, 7.0) == pytest.approx((0.45, expected), nan_ok=True, rel=1e-15)


@pytest.mark.parametrize("unit", [1e-13, 1e-6, 1.0, 1e6, 1e12])
def test_same_is_judged_on_the_scale_of_the_outcome(unit: float) -> None:
    """An effect that varies is never exact, and one that does not always is, whatever the units (mean 0, no slope)."""
    plain = {"items": 0, "lowest": -1e15, "highest": 1e15, "mean": 0.0, "baseline_slope": 0.0, "effect_among": ""}
    varying, same = ({**plain, "residual_sd": unit, "effect": unit / 3, "effect_sd": sd} for sd in (0.1, 0.0))
    if unit <= 1:  # effect_sd is at most 100 points
        varying["effect_sd"] = 0.1 * unit
        found = true_values([ITT], partners({"outcomes.mansa": varying}), 1, "")[0]
        assert abs(found.value - unit / 3) < Z * found.mcse < 0.01 * unit
    found = true_values([ITT], partners({"outcomes.mansa": same}), 1, "")[0]
    assert found.mcse == 0.0
    assert found.value == pytest.approx(unit / 3, rel=1e-13)


def test_arms_that_do_not_differ_draw_as_before() -> None:
    batch = draw({"outcomes.mansa": {"engagement_correlation": 0.3}}, trials=5)
    assert MANSA.residual_difference not in batch.columns
    assert without_chance(batch) is batch
    assert isinstance(batch, TrialBatch)
