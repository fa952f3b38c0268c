"""Pattern mixture: leaving drawn before the outcome, the outcome of leavers shifted; what is seen, and what is true."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from simulated import CONTINUOUS, Z, assert_person_mean, draw, mechanism, partners, published
from test_estimands import at_least
from tomls import changed, complaint, written

from simtrial.batch import TrialBatch
from simtrial.estimands import Estimand, ratio, true_values
from simtrial.generate import drawn_for, simulate
from simtrial.generate.missing.dropout import Dropout
from simtrial.scenario import load
from simtrial.scenario.mechanism import build_mechanism
from simtrial.seeding import stream

SHIFTS = {"leavers_shift_control": -0.4, "leavers_shift_intervention": -1.1}
SIMPLE = {"rate": 0.2, "rate_intervention": 0.35, "engagement_correlation": 0.0, "died": 0.0, "drawn_first": True}
EVERYTHING = {
    "rate": 0.25, "rate_intervention": 0.4, "practice_rate": 0.1, "engagement_correlation": -0.3, "died": 0.02,
    "withdrawn_before_baseline": 0.03, "sessions_slope": -0.6, "slopes": {"mansa_baseline": -0.4, "sessions": 0.2},
    "slopes_intervention": {"provider=secondary": 0.5},
}  # fmt: skip
EXACT = {"baseline": CONTINUOUS, "missingness": {"baseline": 0.0, "followup": 0.0}}


def mixed(dropout: Mapping[str, Any], outcome: Mapping[str, Any], trials: int = 300, seed: int = 1) -> TrialBatch:
    """Trials with scores neither rounded nor clipped."""
    return draw({**EXACT, "outcomes.mansa": {**CONTINUOUS, **outcome}, "dropout": dropout}, trials, seed)


@pytest.mark.parametrize("dropout", [{}, {"rate_intervention": 0.3}, EVERYTHING], ids=["partners", "rates", "all"])
@pytest.mark.parametrize("outcome", [{}, {"form": "items", "item_missing": 0.03}], ids=["direct", "items"])
def test_no_data_set_shows_a_shift(dropout: dict[str, Any], outcome: dict[str, Any]) -> None:
    """Every observed column is bit-identical and in its place, secondary outcomes included, which go with MANSA."""
    seen = []
    for first, shifts in ((False, {}), (True, {}), (True, SHIFTS)):
        changes = {"dropout": {**dropout, "drawn_first": first}, "outcomes.mansa": {**outcome, **shifts}}
        seen.append(draw(changes, trials=30).observed())
    plain, *others = seen
    assert np.isnan(plain.at("mansa_followup")).any()
    for other in others:
        assert list(other.columns) == list(plain.columns)
        for name, column in plain.columns.items():
            assert np.array_equal(column.values, other.columns[name].values, equal_nan=True), name


@pytest.mark.parametrize("outcome", [{}, {"form": "items"}], ids=["direct", "items"])
def test_only_leavers_have_another_outcome(outcome: dict[str, Any]) -> None:
    changes = {"dropout": {**EVERYTHING, "drawn_first": True}}
    plain, other = (draw({**changes, "outcomes.mansa": {**outcome, **s}}, trials=50) for s in ({}, SHIFTS))
    for arm in ("control", "intervention"):
        leaves, name = other.at(f"leaves_if_{arm}") == 1, f"mansa_if_{arm}"
        assert np.array_equal(plain.at(name)[~leaves], other.at(name)[~leaves])
        assert (plain.at(name)[leaves] >= other.at(name)[leaves]).all()  # equal at the end of the scale
        assert (plain.at(name)[leaves] > other.at(name)[leaves]).any()
    assert np.array_equal(plain.at("mansa_if_control"), other.at("mansa_before_shift"))
    for name in set(plain.columns) - {"mansa_if_control", "mansa_if_intervention", "mansa_followup"}:
        assert np.array_equal(plain.columns[name].values, other.columns[name].values, equal_nan=True), name


def test_leavers_are_shifted_by_what_is_written() -> None:
    """Scores neither rounded nor clipped: Y(a) gains delta_a for those who leave in a; no more, no less."""
    plain, other = (mixed({**EVERYTHING, "drawn_first": True}, s) for s in ({}, SHIFTS))
    for arm, delta in (("control", -0.4), ("intervention", -1.1)):
        gain = other.at(f"mansa_if_{arm}") - plain.at(f"mansa_if_{arm}")
        assert np.allclose(gain, delta * plain.at(f"leaves_if_{arm}"), atol=1e-12)


@pytest.mark.parametrize("dropout", [SIMPLE, {**EVERYTHING, "rate": 0.2, "rate_intervention": 0.35}], ids=["z", "all"])
def test_rates_hold_in_either_arm_whatever_was_allocated(dropout: dict[str, Any]) -> None:
    """Rates include deaths and withdrawals. Thresholds rest on 20,000 practices, 10,000 an arm, against 39,000 x 1.5
    here: a tolerance widened by sqrt(1 + 58,500/10,000) = 2.6 is what the calibration's own error leaves."""
    batch = mixed({**dropout, "practice_rate": 0.0, "drawn_first": True}, SHIFTS, trials=1500)
    for arm, rate in (("control", 0.2), ("intervention", 0.35)):
        off = batch.at(f"leaves_if_{arm}") - rate
        per_practice = np.bincount(batch.index.participant_practice, weights=off, minlength=batch.index.practices)
        error = np.sqrt((per_practice**2).sum()) / len(off)
        assert error < 0.0015
        assert abs(off.mean()) < Z * error * (2.6 if dropout is not SIMPLE else 1.0)


def test_leaving_is_that_of_the_arm_allocated_but_for_lost_practices() -> None:
    batch = mixed({**EVERYTHING, "drawn_first": True}, SHIFTS)
    leaves = np.where(batch.at("arm") == 1, batch.at("leaves_if_intervention"), batch.at("leaves_if_control"))
    rng = stream(1, "", 0, "dropout")
    rng.standard_normal(batch.index.participants)
    kept = rng.random(batch.index.practices) >= 0.1
    assert np.array_equal(batch.at("followed_up") == 1, kept[batch.index.participant_practice] & (leaves == 0))


def test_without_slopes_the_arm_that_loses_more_loses_those_of_the_other_as_well() -> None:
    """The same normal decides under either allocation."""
    batch = mixed(SIMPLE, {})
    control, intervention = batch.at("leaves_if_control"), batch.at("leaves_if_intervention")
    assert (control <= intervention).all()
    assert (control < intervention).any()


def test_slopes_are_on_what_a_person_has_in_that_arm() -> None:
    """Once more as a plain loop: sessions as offered under the intervention, as access gives them in control."""
    options = {**EVERYTHING, "drawn_first": True, "died": 0.0, "withdrawn_before_baseline": 0.0}
    whole = partners({"delivery": {"control_access": 0.3}, "dropout": options})
    batch = simulate(whole, 6, 1, "", 0)
    step = whole["dropout"].settled(whole)
    assert isinstance(step, Dropout)
    found = step._calibration
    assert found is not None
    normal = stream(1, "", 0, "dropout").standard_normal(batch.index.participants)
    # sessions twice: a slope in both arms, standardised over everyone, and sessions_slope over the intervention arm
    assert [term.name for term in step.terms()] == ["mansa_baseline", "sessions", "provider=secondary", "sessions"]
    for i in range(batch.index.participants):
        own = np.sqrt(1 - 0.09) * normal[i] - 0.3 * batch.at("engagement")[i]
        for arm, world in enumerate(("if_control", "offered")):
            raw = (batch.at("mansa_baseline")[i], batch.at(f"sessions_{world}")[i], batch.at("provider")[i] == 1)
            x = [(value - found.means[k]) / found.sds[k] for k, value in enumerate((*raw, raw[1]))]
            score = own - 0.4 * x[0] + 0.2 * x[1] + arm * (0.5 * x[2] - 0.6 * x[3])
            leaves = batch.at(f"leaves_{('if_control', 'if_intervention')[arm]}")[i]
            assert leaves == (score > found.thresholds[arm])


@pytest.mark.parametrize("unit", ["participant", "cluster"])
def test_the_true_effect_gains_the_shifts_of_those_who_leave(unit: Any) -> None:
    """E[Y(1) - Y(0)] = effect + delta_1 P(leaves in 1) - delta_0 P(leaves in 0), leaving independent of the rest."""
    whole = partners({**EXACT, "outcomes.mansa": {
        **CONTINUOUS, "effect": 0.3, "effect_among": "", **SHIFTS}, "dropout": SIMPLE})  # fmt: skip
    (found,) = true_values([Estimand(name="itt", response="mansa", kind="itt", unit=unit)], whole, 1, "")
    assert abs(found.value - (0.3 - 1.1 * 0.35 + 0.4 * 0.2)) < Z * found.mcse
    assert 0 < found.mcse < 0.002


def test_compliers_have_the_shifts_of_compliers_who_leave() -> None:
    """Leavers are the 40% with the lowest engagement, compliers the share s with the highest, as nothing else decides
    on either: 0.4 + s - 1 are both, and the effect on compliers is the effect + delta_1 (0.4 + s - 1)/s."""
    options = {**SIMPLE, "rate": 0.4, "rate_intervention": 0.4, "engagement_correlation": -1.0}
    delivery = {"availability_correlation": 0.0}
    whole = partners({**EXACT, "delivery": delivery, "dropout": options, "outcomes.mansa": {
        **CONTINUOUS, "effect": 0.3, "effect_among": "", "leavers_shift_intervention": -1.0}})  # fmt: skip
    wanted = [
        Estimand(name="itt", response="mansa", kind="itt"),
        Estimand(name="c", response="mansa", kind="cace", received="sessions >= 6"),
    ]
    itt, cace = true_values(wanted, whole, 1, "")
    share = at_least(6)
    both = 0.4 + share - 1.0
    assert 0.05 < both < 0.2
    assert abs(itt.value - (0.3 - 0.4)) < Z * itt.mcse
    assert abs(cace.value - (0.3 - both / share)) < Z * cace.mcse
    assert 0 < cace.mcse < 0.002


def test_complete_cases_miss_what_leavers_lose() -> None:
    """Leaving completely at random: E[mean difference of those seen] - truth = -(delta_1 p_1 - delta_0 p_0).

    Practices allocated by coins, the unit of the delta-method error; a practice lost as a whole changes nothing.
    """
    changes = {**EXACT, "allocation": {"method": "simple"}, "dropout": {**SIMPLE, "practice_rate": 0.1}}
    whole = partners({**changes, "outcomes.mansa": {**CONTINUOUS, "effect": 0.3, "effect_among": "", **SHIFTS}})
    (truth,) = true_values([Estimand(name="itt", response="mansa", kind="itt")], whole, 1, "")
    batch = simulate(drawn_for(whole, frozenset({"arm", "mansa_followup"})), 2500, 5, "", 0)
    seen, practice = batch.observed(), batch.index.participant_practice
    score = seen.at("mansa_followup")
    sides = []
    for arm in (1, 0):
        among = (seen.at("arm") == arm) & ~np.isnan(score)
        for values in (np.nan_to_num(score) * among, among):
            sides.append(np.bincount(practice, weights=values, minlength=batch.index.practices))
    difference, error = ratio(*sides)
    bias = -(-1.1 * 0.35 + 0.4 * 0.2)
    assert Z * np.hypot(error, truth.mcse) < 0.05 < abs(bias)
    assert abs(difference - truth.value - bias) < Z * np.hypot(error, truth.mcse)
    assert abs(difference - 0.3) < Z * error  # those seen show the effect without leaving


def test_everyone_is_seen_with_the_mean_of_the_mixture_when_nothing_hides_them() -> None:
    """The outcome that happens is the shifted one: over everybody, seen or not, it gains delta_a rate_a."""
    batch = mixed(SIMPLE, {**SHIFTS, "effect": 0.0, "effect_among": ""}, trials=1500)
    gain = batch.at("mansa_followup") - batch.at("mansa_before_shift")
    treated = batch.at("arm", "practice") == 1
    assert_person_mean(gain - np.where(treated, -1.1 * 0.35, -0.4 * 0.2)[batch.index.participant_practice],
                       batch.index, 0.0, sharp=0.01)  # fmt: skip


@pytest.mark.parametrize(
    "key", ["outcome_slope", "outcome_slope_intervention", "change_slope", "practice_effect_slope"]
)
def test_selection_and_pattern_mixture_are_not_asked_for_together(key: str) -> None:
    with pytest.raises(ValueError, match=rf"{key} makes leaving follow from the outcome \(selection\).*only one"):
        Dropout.model_validate({key: 0.3, "drawn_first": True})


@pytest.mark.parametrize("key", list(SHIFTS))
def test_a_shift_needs_leaving_to_be_drawn_first(key: str, tmp_path: Path) -> None:
    shifted = changed("icc = 0.1\n", f"icc = 0.1\n{key} = -0.5\n")
    said = complaint(tmp_path, shifted)
    assert f"mechanism.outcomes.mansa.{key}" in said
    assert "drawn_first = true in [mechanism.dropout]" in said
    assert said.count("leaves_if_control") == 1  # told once
    first = changed("rate = 0.15\n", "rate = 0.15\ndrawn_first = true\n", shifted)
    assert load(written(tmp_path, first))[0].variables["mansa_before_shift"].latent
    without = changed("[mechanism.dropout]\nrate = 0.15\nengagement_correlation = -0.2\n", "", shifted)
    assert "leaves_if_control" in complaint(tmp_path, without)


def test_slopes_on_what_comes_after_the_outcome_are_refused() -> None:
    raw = {k: v for k, v in published().items() if not k.startswith("outcomes.")}
    raw["outcomes"] = {k.removeprefix("outcomes."): v for k, v in published().items() if k.startswith("outcomes.")}
    raw["dropout"] = {**raw["dropout"], "slopes": {"tus_baseline": 0.3}, "drawn_first": True}
    (problem,) = build_mechanism(raw)[1]
    assert "dropout is drawn before [mechanism.outcomes.mansa]" in problem.message
    assert "'tus_baseline' only after" in problem.message
    raw["dropout"] = {**raw["dropout"], "drawn_first": False}
    assert not build_mechanism(raw)[1]


def test_a_shift_of_nothing_reads_and_adds_nothing() -> None:
    tables = {name: dict(table) for name, table in published().items()}
    tables["dropout"]["drawn_first"] = True
    steps = mechanism(tables)
    assert not {"leaves_if_control", "leaves_if_intervention"} & steps["outcomes.mansa"].reads()
    assert "mansa_before_shift" not in steps["outcomes.mansa"].adds()
