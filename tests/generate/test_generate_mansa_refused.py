"""Impossible settings of MANSA are refused with the reason; and the whole formula once more as a plain loop."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from simulated import CONTINUOUS, draw, drawn_by, partners, published

from simtrial.batch import Column, TrialBatch
from simtrial.generate import variables
from simtrial.generate.distributions.shapes import shaped
from simtrial.scenario.mechanism import build_mechanism


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"residual_df": 2.0}, "greater than or equal to 2.5"),
        ({"practice_df": 2.4}, "greater than or equal to 2.5"),
        ({"residual_skewness": 5.1}, "less than or equal to 5"),
        ({"residuals": "skewed", "residual_skewness": 0.0}, "between 0.01 and 5"),
        ({"practice_effects": "skewed", "practice_skewness": 0.001}, "between -5 and -0.01"),
        ({"icc_intervention": -0.5}, r"\[0, 1\)"),
        ({"icc_intervention": 1.0}, "less than 1"),
        ({"cluster_autocorrelation": 1.01}, "less than or equal to 1"),
        ({"cluster_autocorrelation": 0.5, "icc": 0.0}, "icc above 0"),
        ({"effect_practice_correlation": -1.5}, "greater than or equal to -1"),
        ({"effect_sd": -0.1}, "greater than or equal to 0"),
        ({"size_log_sd": 0.0}, "greater than 0"),
        ({"subgroup_effects": {"Cornwall": 0.1}}, "region=Cornwall"),
        ({"subgroup_effects": {"region=": 0.1}}, "column=category"),
        ({"subgroup_effects": {"region==Cornwall": 0.1}}, "column=category"),
        ({"item_missing": 0.1}, "form = 'items'"),
        ({"form": "items", "items": 1}, "at least 2"),
        ({"form": "items", "items_needed": 12}, "at most items = 11"),
        ({"form": "items", "item_missing": 0.99999999}, r"where 1 of 11 .* in \[0, 0\.9999999091\]"),
        ({"form": "items", "item_missing": 0.8, "items_needed": 11}, r"where 11 of 11 .* in \[0, 0\.71519641"),
        ({"form": "items", "highest": 7.5}, "whole numbers"),
        ({"form": "items", "lowest": -1e9, "highest": 1e9}, "1 to 100 apart"),
        ({"form": "items", "residual_sd": 0.4}, r"at most 1\.201 with 11 items and an SD within practices of 0\.362"),
        ({"form": "items", "residual_sd_intervention": 0.4}, r"at most 1\.201"),
        ({"engagement_correlation": 0.6, "residual_sd_intervention": 0.4}, r"within practices of 0\.3622.*0\.3809"),
        ({"cluster_autocorrelation": -0.5, "icc_intervention": 0.04}, r"between practices of 0\.1402.*0\.1487"),
        ({"cluster_autocorrelation": 0.3, "icc_intervention": 0.0}, "between practices of 0"),
        ({"cluster_autocorrelation": 0.3, "icc": 0.0, "icc_intervention": 0.2}, "icc above 0"),
        ({"form": "items", "item_deviation_sd": 0.05}, r"have an SD between 0\.\d+ and [23]\.\d+; .* 0\.05 given"),
        ({"form": "items", "item_deviation_sd": 4.0, "items": 100}, r"have an SD between 0\.\d+ and [23]\.\d+"),
    ],
)
def test_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        partners({"outcomes.mansa": options})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "items", "sd": 0.4}, r"at most 1\.272"),
        ({"practice_effects": "skewed", "practice_skewness": 0.0}, "between 0.01 and 5"),
        ({"residual_df": 1.0}, "2.5"),
    ],
)
def test_refused_at_baseline(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        partners({"baseline": options})


@pytest.mark.parametrize(
    ("stage", "options", "key", "said"),
    [
        (
            "outcomes.mansa",
            {"subgroup_effects": {"region=Cornwal": 0.1}},
            "subgroup_effects",
            "did you mean 'Cornwall'",
        ),
        ("outcomes.mansa", {"subgroup_effects": {"regoin=Cornwall": 0.1}}, "subgroup_effects", "did you mean 'region'"),
        ("outcomes.mansa", {"subgroup_effects": {"engagement=1": 0.1}}, "subgroup_effects", "unknown column"),
        ("outcomes.mansa", {"subgroup_effects": {"region=nan": 0.1}}, "mansa", "expected a number"),
        ("baseline", {"icc": 0.0}, "cluster_autocorrelation", "icc > 0"),
        ("outcomes.mansa", {"short_followup_from": 20.0}, "mansa", "allocation_month"),
        ("outcomes.mansa", {"pandemic_effect": 0.1}, "mansa", "period"),
        ("outcomes.mansa", {"register_effect": 0.1}, "mansa", "register_size"),
    ],
)
def test_refused_for_what_other_stages_are(stage: str, options: dict[str, Any], key: str, said: str) -> None:
    tables = {name: dict(table) for name, table in published().items()}
    raw: dict[str, Any] = {name: table for name, table in tables.items() if not name.startswith("outcomes.")}
    raw["outcomes"] = {"mansa": {**tables["outcomes.mansa"], "cluster_autocorrelation": 0.5}}
    (raw["outcomes"]["mansa"] if stage == "outcomes.mansa" else raw[stage]).update(options)
    mechanism, problems = build_mechanism(raw)
    if key == "mansa" and said in variables(mechanism):
        pytest.skip("a stage of the scenario adds the column")
    assert any(key in p.path and said in p.message for p in problems), problems


def test_everything_at_once_equals_a_plain_loop_given_the_same_normals() -> None:
    options = {
        **CONTINUOUS, "effect": 0.3, "effect_among": "sessions >= 6", "engagement_correlation": 0.4,
        "subgroup_effects": {"region=Cornwall": 0.2, "provider=secondary": -0.1}, "effect_sd": 0.25,
        "effect_practice_correlation": -0.3, "size_effect": 0.1, "size_outcome": -0.2, "register_effect": 0.05,
        "register_outcome": 0.15, "pandemic_effect": -0.3, "pandemic_interaction": 0.2, "cluster_autocorrelation": 0.5,
        "residuals": "t", "practice_effects": "skewed", "residual_sd_intervention": 0.6, "icc_intervention": 0.3,
        "short_followup_from": 12.0, "size_log_mean": 1.418, "size_log_sd": 0.681, "register_log_mean": 4.2,
        "register_log_sd": 0.6,
    }  # fmt: skip
    step = partners({"outcomes.mansa": options})["outcomes.mansa"]
    batch = draw(trials=2)
    rng = np.random.default_rng(70)
    extra = {
        "register_size": Column(rng.uniform(16, 200, batch.index.practices), "practice"),
        "allocation_month": Column(rng.uniform(0, 24, batch.index.practices), "practice"),
        "period": Column(rng.integers(0, 2, batch.index.practices), "practice", ("pre", "during")),
    }
    batch = TrialBatch(batch.index, {n: c for n, c in batch.columns.items() if n not in {*step.adds(), *extra}}).add(
        extra
    )
    found = drawn_by(step, batch, seed=22)
    rng = np.random.default_rng(22)
    practices, people = batch.index.practices, batch.index.participants
    z_practice, z_own = rng.standard_normal(practices), rng.standard_normal(people)
    z_months, z_effect = rng.standard_normal(people), rng.standard_normal(practices)
    for i in range(people):
        j = int(batch.index.participant_practice[i])
        at = {name: float(batch.at(name)[i]) for name in batch.columns}
        size, register = (np.log(at["recruited"]) - 1.418) / 0.681, (np.log(at["register_size"]) - 4.2) / 0.6
        u = 0.5 * at["baseline_practice_score"] + 0.75**0.5 * shaped(z_practice[[j]], "skewed", 5.0, 1.0)[0]
        v = 0.4 * at["engagement"] + (1 - 0.4**2) ** 0.5 * shaped(z_own[[i]], "t", 5.0, 1.0)[0]
        mean = 4.53 + 0.615 * (at["mansa_baseline"] - 4.31) - 0.2 * size + 0.15 * register - 0.3 * at["period"]
        control = mean + 0.701 * 0.18**0.5 * u + 0.701 * 0.82**0.5 * v
        effect = 0.3 + 0.25 * (-0.3 * u + (1 - 0.3**2) ** 0.5 * z_effect[j]) + 0.1 * size + 0.05 * register
        effect += 0.2 * at["period"] + 0.2 * (at["region"] == 2) - 0.1 * (at["provider"] == 1)
        effect = effect if at["sessions_offered"] >= 6 else 0.0
        # what practices share with baseline and people with engagement is the same in either arm
        shared = 0.701 * (0.18**0.5 * 0.5 * at["baseline_practice_score"] + 0.82**0.5 * 0.4 * at["engagement"])
        own_u = shaped(z_practice[[j]], "skewed", 5.0, 1.0)[0] * (0.3 * 0.36 - 0.25 * 0.18 * 0.701**2) ** 0.5
        own_v = shaped(z_own[[i]], "t", 5.0, 1.0)[0] * (0.7 * 0.36 - 0.16 * 0.82 * 0.701**2) ** 0.5
        treated = mean + shared + own_u + own_v + effect
        planned = 9.0 if at["allocation_month"] >= 12 else 10.0
        assert found["mansa_if_control"][i] == pytest.approx(control, abs=1e-12)
        assert found["mansa_if_intervention"][i] == pytest.approx(treated, abs=1e-12)
        assert found["mansa_followup"][i] == pytest.approx(treated if at["arm"] == 1 else control, abs=1e-12)
        assert found["followup_months"][i] == pytest.approx(planned + 1.35 * z_months[i], abs=1e-12)
        assert found["in_window"][i] == (abs(1.35 * z_months[i]) <= 1)
