"""Missingness: incomplete scores of people who were seen."""

from typing import Any

import numpy as np
import pytest
from simulated import assert_mean, draw, drawn_by, mechanism, partners, published

from simtrial.batch import TrialBatch
from simtrial.generate import simulate
from simtrial.generate.missing.missingness import INSTRUMENTS, Missingness


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


def tied(**options: float) -> Missingness:
    """SWEMWBS missing with WEMWBS, listed before it."""
    instruments = {"swemwbs": {"missing_with": "wemwbs", **options}, "wemwbs": {"baseline": 0.1, "followup": 0.2}}
    return Missingness.model_validate({"instruments": instruments})


def test_a_score_missing_with_another_is_missing_exactly_where_that_one_is() -> None:
    batch = draw()
    batch = TrialBatch(batch.index, {"arm": batch.columns["arm"]})
    found = drawn_by(tied(), batch)
    for wave, rate in (("baseline", 0.1), ("followup", 0.2)):
        assert_mean(found[f"wemwbs_{wave}_complete"] == 0, rate, sharp=0.005)
        assert np.array_equal(found[f"swemwbs_{wave}_complete"], found[f"wemwbs_{wave}_complete"])


def test_more_of_a_tied_score_may_be_missing() -> None:
    """P = 1 - (1 - p)(1 - q), in the intervention arm with q of its own; never without the score it is tied to."""
    batch = draw()
    arm = batch.at("arm")
    found = drawn_by(tied(baseline=0.3, followup=0.1, followup_intervention=0.4), batch)
    short = {wave: found[f"swemwbs_{wave}_complete"] for wave in ("baseline", "followup")}
    assert_mean(short["baseline"] == 0, 1 - 0.9 * 0.7, sharp=0.007)
    assert_mean((short["followup"] == 0)[arm == 0], 1 - 0.8 * 0.9, sharp=0.009)
    assert_mean((short["followup"] == 0)[arm == 1], 1 - 0.8 * 0.6, sharp=0.009)
    for wave, complete in short.items():
        assert np.all(complete <= found[f"wemwbs_{wave}_complete"])


def test_tying_one_instrument_moves_no_other_mask() -> None:
    batch = draw(trials=50)
    others = {"swemwbs": {"baseline": 0.3}, "wemwbs": {"baseline": 0.1}, "qpr15": {"baseline": 0.2, "followup": 0.2}}
    free = Missingness.model_validate({"instruments": others})
    bound = {**others, "swemwbs": {"baseline": 0.3, "missing_with": "wemwbs"}}
    first, second = drawn_by(free, batch), drawn_by(Missingness.model_validate({"instruments": bound}), batch)
    moved = {name for name in first if not np.array_equal(first[name], second[name])}
    assert moved == {"swemwbs_baseline_complete"}
    both = first["swemwbs_baseline_complete"] * first["wemwbs_baseline_complete"]
    assert np.array_equal(second["swemwbs_baseline_complete"], both)


def test_tied_masks_hide_both_wellbeing_scores_of_the_same_people() -> None:
    instruments = {"wemwbs": {"baseline": 0.1, "followup": 0.2}, "swemwbs": {"missing_with": "wemwbs"}}
    seen = draw({"missingness": {"instruments": instruments}}, trials=50).observed()
    for wave in ("baseline", "followup"):
        long, short = (np.isnan(seen.at(f"{name}_{wave}")) for name in ("wemwbs", "swemwbs"))
        assert np.array_equal(long, short)
        assert 0 < long.mean() < 1


@pytest.mark.parametrize(
    ("instruments", "said"),
    [
        ({"swemwbs": {"missing_with": "wemwbs"}}, r"instrument listed here and not itself tied: .*allowed: none"),
        ({"swemwbs": {"missing_with": "wemwb"}, "wemwbs": {}}, "did you mean 'wemwbs'"),
        ({"swemwbs": {"missing_with": "swemwbs"}, "wemwbs": {}}, "not itself tied"),
        ({"swemwbs": {"missing_with": "wemwbs"}, "wemwbs": {"missing_with": "qpr15"}, "qpr15": {}}, "allowed: qpr15"),
    ],
)
def test_a_score_can_only_be_tied_to_one_that_is_listed_and_free(instruments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Missingness.model_validate({"instruments": instruments})
