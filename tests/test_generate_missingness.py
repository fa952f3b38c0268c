"""Missingness: incomplete scores of people who were seen."""

from typing import Any

import numpy as np
import pytest
from simulated import assert_mean, draw, drawn_by, mechanism, partners, published

from simtrial.generate import simulate
from simtrial.generate.missingness import INSTRUMENTS, Missingness


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
    batch = draw({"missingness": {"baseline": 0.3, "followup": 0.3}, "dropout": {"rate": 0.0, "died": 0.0}}, trials=50)
    seen = batch.observed()
    assert np.array_equal(np.isnan(seen.at("mansa_baseline")), batch.at("baseline_complete") == 0)
    assert np.array_equal(np.isnan(seen.at("mansa_followup")), batch.at("followup_complete") == 0)
    assert not np.isnan(seen.at("followup_months")).any()


def test_nothing_is_missing_without_the_two_stages() -> None:
    kept = {stage: step for stage, step in partners().items() if stage not in ("dropout", "missingness")}
    seen = simulate(kept, 20, 1, "", 0).observed()
    assert not np.isnan(seen.at("mansa_baseline")).any()
    assert not np.isnan(seen.at("mansa_followup")).any()


def test_every_instrument_has_its_published_rates() -> None:
    """Baseline of 198 and follow-up of 174: 99 of 198 without Brief INSPIRE, 22 of 101 against 51 of 73 later."""
    batch = draw(trials=600)
    arm = batch.at("arm")
    listed = {
        "tus": (0.0, 5),
        "wemwbs": (2, 6),
        "swemwbs": (11, 11),
        "qpr15": (7, 8),
        "icecap_a": (9, 5),
        "eq5d5l": (10, 4),
    }
    for name, (before, after) in listed.items():
        missing = [batch.at(f"{name}_{wave}_complete") == 0 for wave in ("baseline", "followup")]
        assert abs(missing[0].mean() - before / 198) < 0.0005 + 4.5 * np.sqrt(before / 198 / len(arm))
        assert abs(missing[1].mean() - after / 174) < 0.0005 + 4.5 * np.sqrt(after / 174 / len(arm))
    assert_mean(batch.at("brief_inspire_baseline_complete") == 0, 99 / 198, sharp=0.008)
    assert_mean((batch.at("brief_inspire_followup_complete") == 0)[arm == 0], 0.699, sharp=0.01)
    assert_mean((batch.at("brief_inspire_followup_complete") == 0)[arm == 1], 0.218, sharp=0.01)


def test_a_mask_hides_the_score_of_its_instrument_and_does_no_harm_without_it() -> None:
    step = Missingness.model_validate({"instruments": {"tus": {"followup": 0.5}}})
    assert {n: v.hides for n, v in step.adds().items() if n.startswith("tus")} == {
        "tus_baseline_complete": ("tus_baseline",),
        "tus_followup_complete": ("tus_followup",),
    }
    seen = draw(trials=5).observed()
    assert not any(np.isnan(seen.at(f"{n}_baseline_complete")).any() for n in INSTRUMENTS)


def test_instruments_leave_the_masks_of_mansa_alone() -> None:
    options = {"baseline": 0.1, "followup": 0.2}
    batch = simulate(mechanism({s: o for s, o in published().items() if s != "missingness"}), 5, 1, "", 0)
    alone = drawn_by(Missingness.model_validate(options), batch)
    more = drawn_by(Missingness.model_validate({**options, "instruments": {"tus": {"baseline": 0.3}}}), batch)
    assert set(alone) == {"baseline_complete", "followup_complete"}
    assert all(np.array_equal(alone[name], more[name]) for name in alone)
    rng = np.random.default_rng(1)
    assert np.array_equal(alone["baseline_complete"], rng.random(batch.index.participants) >= 0.1)


@pytest.mark.parametrize("name", ["mansa", "wemwb", "eq5d"])
def test_only_known_instruments_are_accepted(name: str) -> None:
    with pytest.raises(ValueError, match=r"MANSA write|unknown instrument"):
        Missingness.model_validate({"instruments": {name: {"baseline": 0.1}}})


@pytest.mark.parametrize("options", [
    {"baseline": 0.9999999}, {"followup": 0.9999995}, {"instruments": {"tus": {"followup": 0.9999999}}},
    {"instruments": {"tus": {"followup_intervention": 0.9999999}}},
], ids=str)  # fmt: skip
def test_rates_that_leave_nobody_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"leaves fewer than one person in a million .* in \[0, 0.999999\]"):
        Missingness.model_validate(options)
    assert Missingness.model_validate({"baseline": 0.999999}).baseline == 0.999999
