"""A change in one stage's table leaves bit-identical every stage that does not read what it adds."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from simulated import draw, drawn_by, partners

from simtrial.batch import TrialBatch
from simtrial.generate import Mechanism, drawn_for, simulate

PRESENT = tuple(partners())

CHANGES: dict[str, Mapping[str, Any]] = {
    "practices": {"small_share": 0.6},
    "screening": {"eligible": 0.4, "excluded_practice_size": 3.0},
    "recruitment": {"last_month_share": 0.1, "window_months": 2.0},
    "participants": {"female": 0.2, "age_mean": 40.0, "provider_icc": 0.4},
    "characteristics": {"smoking": 0.2, "icc": 0.3, "iccs": {"alcohol": 0.6}, "known": {"gender": 0.5}},
    "baseline": {"mean": 4.0, "icc": 0.3},
    "allocation": {"method": "simple"},
    "delivery": {"sessions_mu": 5.0, "no_contact": 0.3, "availability_alpha": 2.0},
    "outcomes.mansa": {"icc": 0.01, "effect": 1.0, "effect_among": "arm == 1"},
    "outcomes.tus": {"baseline_mean": 40.0, "outlier_probability": 0.3, "effect": 5.0},
    "outcomes.wemwbs": {"icc": 0.2, "loading": 0.3, "short_sd": 2.0},
    "outcomes.qpr15": {"rho": 0.3},
    "outcomes.brief_inspire": {"effect": 20.0},
    "outcomes.icecap_a": {"grid": 0.0},
    "outcomes.eq5d5l": {"followup_sd": 0.2},
    "safety": {"serious_rate_ratio": 2.0, "acute_rate": 0.3, "acute_rate_ratio": 0.5},
    "dropout": {"rate": 0.4, "practice_rate": 0.2},
    "missingness": {"baseline": 0.3, "followup": 0.3},
}


def affected(stage: str, before: Mechanism, after: Mechanism) -> set[str]:
    """The stage, and those that read what it or another affected stage adds."""
    found = {stage}
    for later in PRESENT[PRESENT.index(stage) + 1 :]:
        reads = before[later].reads() | after[later].reads()
        if any(reads & set(before[s].adds()) for s in found):
            found.add(later)
    return found


@pytest.mark.parametrize("stage", PRESENT)
def test_stages_that_do_not_read_a_changed_one_draw_the_same(stage: str) -> None:
    before, after = partners(), partners({stage: CHANGES[stage]})
    first, second = (simulate(m, 40, 3, "", 0) for m in (before, after))
    touched = affected(stage, before, after)
    compared = 0
    for other in set(PRESENT) - touched:
        for name in before[other].adds():
            same = np.array_equal(first.columns[name].values, second.columns[name].values, equal_nan=True)
            assert same, f"{name} of {other} moved with {stage}"
            compared += 1
    changed = [n for n in before[stage].adds() if not equal(first, second, n)]
    assert changed, f"the change in {stage} changed nothing"
    assert compared > 0


def equal(first: TrialBatch, second: TrialBatch, name: str) -> bool:
    a, b = first.columns[name].values, second.columns[name].values
    return np.array_equal(a, b, equal_nan=True)


def test_size_classes_leave_cluster_sizes_alone() -> None:
    first, second = draw(trials=40), draw({"practices": {"small_share": 0.6}}, trials=40)
    assert equal(first, second, "recruited")
    assert not equal(first, second, "practice_size")


@pytest.mark.parametrize("stage", ["participants", "characteristics", "baseline", "delivery", "dropout", "missingness"])
def test_leaving_a_stage_out_leaves_the_others_alone(stage: str) -> None:
    changes = {
        "characteristics": {"age_at_diagnosis": ONSET},
        "outcomes.mansa": {"baseline_slope": 0.0, "effect_among": ""},
        "dropout": {"engagement_correlation": 0.0},
        "safety": {"treated_from": "allocation"},
        **{s: {"loading": 0.0} for s in PRESENT if s.startswith("outcomes.") and s != "outcomes.mansa"},
    }
    whole = partners(changes)
    fewer = {s: step for s, step in whole.items() if s != stage}
    first, second = (simulate(m, 40, 3, "", 0) for m in (whole, fewer))
    assert set(first.columns) - set(second.columns) == set(whole[stage].adds())
    assert all(equal(first, second, name) for name in second.columns)


ONSET = {"mean": 35.1, "sd": 12.8, "lowest": 12, "highest": 70, "up_to_age": False}
VARIANTS: list[tuple[str, Mapping[str, Any]]] = [
    *((stage, {}) for stage in PRESENT[1:]),
    ("characteristics", {"age_at_diagnosis": ONSET}),
    ("outcomes.mansa", {"engagement_correlation": 0.5}),
    ("outcomes.mansa", {"region_effects": {"Cornwall": 1.0}}),
    ("outcomes.mansa", {"effect_among": "region == 'Cornwall' and availability >= 0.5"}),
    ("outcomes.mansa", {"small_practice_effect": 1.0}),
    ("outcomes.mansa", {"cluster_autocorrelation": 0.5}),
    ("outcomes.mansa", {"subgroup_effects": {"diagnosis=bipolar": 0.1, "region=Cornwall": 0.2}}),
    ("outcomes.mansa", {"baseline_effect": 0.3}),
    ("outcomes.mansa", {"size_effect": 0.1, "size_outcome": 0.1, "effect_sd": 0.2}),
    ("outcomes.mansa", {"register_effect": 0.1, "size_log_mean": 1.5}),
    ("outcomes.mansa", {"form": "items", "item_missing": 0.03, "items_needed": 9}),
    ("outcomes.mansa", {"residuals": "t", "practice_effects": "skewed", "icc_intervention": 0.1}),
    ("baseline", {"form": "items", "item_missing": 0.03, "residuals": "skewed"}),
    ("allocation", {"method": "blocks", "strata": ["region", "practice_size"]}),
    ("allocation", {"method": "constrained", "numeric": ["recruited"], "candidates": 20}),
    ("delivery", {"engagement_effects": {"age": 0.2, "provider=secondary": -0.3}}),
    ("delivery", {"engagement_baseline": 0.4}),
    ("outcomes.qpr15", {"loading": 0.0}),
    ("outcomes.tus", {"keep_outliers": False}),
    ("outcomes.tus", {"zero_share": 0.1}),
    ("outcomes.qpr15", {"item_missing": 0.03, "items_needed": 12}),
    ("outcomes.wemwbs", {"item_missing": 0.03, "items_needed": 11}),
    ("dropout", {"rate_intervention": 0.3, "died": 0.01, "withdrawn_before_baseline": 0.01}),
    ("dropout", {"slopes": {"mansa_baseline": 0.3, "provider=secondary": 0.2}, "sessions_slope": 0.2}),
    ("dropout", {"outcome_slope": 0.5, "change_slope": 0.1, "practice_effect_slope": 0.3}),
    ("dropout", {"drawn_first": True, "slopes": {"sessions": 0.2, "provider=secondary": 0.2}, "died": 0.01}),
    ("missingness", {"instruments": {"wemwbs": {"baseline": 0.1}, "swemwbs": {"missing_with": "wemwbs"}}}),
    ("missingness", {"instruments": {"tus": {"followup": 0.1, "followup_intervention": 0.3}}}),
]


@pytest.mark.parametrize(("stage", "options"), VARIANTS)
def test_a_stage_needs_no_more_than_it_declares(stage: str, options: Mapping[str, Any]) -> None:
    """It draws the same where only the stages that add something it declares have been."""
    mechanism = partners({stage: options})
    step = mechanism[stage].settled(mechanism)
    earlier = {s: partners()[s] for s in PRESENT[: PRESENT.index(stage)]}
    whole = simulate(earlier, 10, 3, "", 0)
    kept = {n for s in earlier.values() if set(s.adds()) & step.reads() for n in s.adds()}
    partial = TrialBatch(whole.index, {n: c for n, c in whole.columns.items() if n in kept})
    expected = drawn_by(step, whole)
    found = drawn_by(step, partial)
    assert set(found) == set(step.adds())
    for name, values in expected.items():
        assert np.array_equal(found[name], values, equal_nan=True)


def test_longer_studies_begin_with_the_shorter_one() -> None:
    """Blocks are drawn whole, so a block does not know how many there are."""
    whole = [simulate(partners(), 10, 3, "", block) for block in (0, 1)]
    again = simulate(partners(), 10, 3, "", 1)
    assert all(equal(whole[1], again, name) for name in again.columns)
    assert not equal(whole[0], whole[1], "recruited")


def test_stages_of_one_block_draw_different_numbers() -> None:
    """Practice effects of baseline, delivery and outcome, all standard normal, one each per practice.

    The correlation of 3,900 independent pairs has a standard error of 0.016; five of them are 0.08.
    """
    batch = draw({"baseline": {"items": 0, "icc": 0.999999, "lowest": -99.0, "highest": 99.0}}, trials=100)
    first = np.flatnonzero(np.diff(batch.index.participant_practice, prepend=-1))
    effects = [batch.at("mansa_baseline")[first], batch.at("practice_effect", "practice")]
    effects.append(batch.at("availability_offered", "practice"))
    assert np.abs(np.corrcoef(effects)[np.triu_indices(3, 1)]).max() < 0.08


def test_stages_nobody_asks_for_are_left_out_and_move_nothing() -> None:
    whole = partners()
    wanted = frozenset({"arm", "mansa_baseline", "mansa_followup"})
    chosen = drawn_for(whole, wanted)
    assert {"practices", "baseline", "allocation", "outcomes.mansa", "dropout", "missingness"} <= set(chosen)
    assert "safety" not in chosen
    first, second = simulate(whole, 20, 3, "", 0), simulate(chosen, 20, 3, "", 0)
    assert set(second.columns) < set(first.columns)
    parts = {"register_size", "session_minutes", "wemwbs_followup_complete"}  # of stages that are drawn
    assert parts <= set(first.columns)
    assert not parts & set(second.columns)
    assert all(equal(first, second, name) for name in second.columns)
    seen = [batch.observed().columns["mansa_followup"].values for batch in (first, second)]
    assert np.array_equal(*seen, equal_nan=True)


def test_true_values_ask_for_no_masks() -> None:
    chosen = drawn_for(partners(), frozenset({"mansa_if_control"}), masks=False)
    assert "dropout" not in chosen
    assert "outcomes.mansa" in chosen


@pytest.mark.parametrize("options", [{}, {"effect_sd": 0.3}, {"form": "items", "item_missing": 0.1}])
def test_times_and_deaths_that_nobody_reads_are_left_out_and_nothing_else_moves(options: Mapping[str, Any]) -> None:
    whole = partners({"outcomes.mansa": options})
    needed = drawn_for(whole, frozenset({"arm", "mansa_followup", "mansa_baseline"}))
    every, few = (simulate(mechanism, 40, 3, "", 0) for mechanism in (whole, needed))
    left_out = {"followup_months", "in_window", "died"}
    assert not left_out & set(few.columns)
    assert {"followed_up", "followup_complete", "mansa_if_control"} <= set(few.columns)
    assert all(equal(every, few, name) for name in few.columns)
    for name in left_out:
        assert name in simulate(drawn_for(whole, frozenset({name})), 2, 3, "", 0).columns
