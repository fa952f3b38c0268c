"""The effect per unit of a dose: linear instrumental variables."""

import numpy as np
import pytest
from pydantic import ValidationError
from reference import method
from simulated import CONTINUOUS, draw, partners
from trials import batch, fit, ragged

from simtrial.estimands import Estimand, true_values
from simtrial.flags import text
from simtrial.scenario import load

NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value", "flags")
OPTIONS = [
    {},
    {"ci": "anderson-rubin"},
    {"ratio": "lmm", "ci": "fieller"},
    {"level_of_analysis": "cluster", "weights": "inverse-variance"},
]


def trial(seed):
    data = ragged(seed, practices=14)
    sessions = data["arm"] * np.random.default_rng(seed).integers(0, 12, len(data["arm"]))
    return {**data, "sessions": sessions.astype(float), "taken": np.asarray(data["received"], dtype=float)}


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_dose_of_0_and_1_is_receipt(options):
    data = trial(3)
    asked = {"adjust": ["mansa_baseline"], **options}
    one = fit(batch(data), method("iv", dose="taken", **asked))
    other = fit(batch(data), method("iv", received="taken == 1", **asked))
    for name in NUMBERS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_estimate_is_per_unit(options):
    data = trial(4)
    asked = {"adjust": ["mansa_baseline"], "dose": "sessions", **options}
    one = fit(batch(data), method("iv", **asked))
    other = fit(batch({**data, "sessions": data["sessions"] / 7}), method("iv", **asked))
    assert other.estimate == pytest.approx(7 * one.estimate, rel=1e-9)
    assert other.std_error == pytest.approx(7 * one.std_error, rel=1e-9)
    assert other.p_value == pytest.approx(one.p_value, rel=1e-9)


def test_without_covariates_it_is_a_ratio_of_differences():
    data = trial(5)
    found = fit(batch(data), method("iv", adjust=[], dose="sessions"))
    y, d = ([data[name][data["arm"] == a].mean() for a in (0, 1)] for name in ("mansa_followup", "sessions"))
    assert found.estimate[0, 0] == pytest.approx((y[1] - y[0]) / (d[1] - d[0]), rel=1e-11)
    assert found.extras["first_stage"][0] == pytest.approx(d[1] - d[0], rel=1e-11)


def test_people_without_a_dose_are_left_out_and_counted():
    data = trial(6)
    data["sessions"][:3] = np.nan
    found = fit(batch(data), method("iv", adjust=[], dose="sessions"))
    rest = {name: values[3:] for name, values in data.items()}
    assert found.estimate[0, 0] == pytest.approx(
        fit(batch(rest), method("iv", adjust=[], dose="sessions")).estimate[0, 0]
    )
    assert found.extras["n_unknown"][0] == 3
    assert "blank_receipt" in text(int(found.flags[0]))


def test_it_is_imputed_with_its_dose():
    data = trial(7)
    data["mansa_followup"][::7] = np.nan
    asked = {"kind": "iv", "dose": "sessions"}
    for pooled in ("estimate", "effects"):
        found = fit(batch(data), method("mi", m=3, pooled=pooled, adjust=["mansa_baseline"], analysis=asked))
        assert not found.failed[0]
        assert found.n_used[0] == len(data["arm"])


def limit(options):
    wanted = Estimand(name="d", response="mansa", kind="iv-limit", dose="sessions")
    (found,) = true_values([wanted], partners({"outcomes.mansa": {**CONTINUOUS, **options}}), 1, "")
    return found


def test_a_linear_effect_is_its_limit():
    options = {"effect": 0.0, "effect_among": "", "effect_per_session": 0.05}
    assert limit(options).value == pytest.approx(0.05, abs=1e-12)
    changed = draw({"outcomes.mansa": {**CONTINUOUS, **options}}, trials=5)
    difference = changed.at("mansa_if_intervention") - changed.at("mansa_if_control")
    assert difference == pytest.approx(0.05 * changed.at("sessions_offered"), abs=1e-12)


def test_a_threshold_has_a_weighted_average():
    """0.6 from six sessions on: 0.6 P(S >= 6)/E S, whatever the weights of steps."""
    options = {"effect": 0.6, "effect_among": "sessions >= 6", "effect_per_session": 0.0}
    sessions = draw(trials=500).at("sessions_offered")
    found = limit(options)
    expected = 0.6 * (sessions >= 6).mean() / sessions.mean()
    assert found.value == pytest.approx(expected, rel=0.02)


def test_sessions_received_in_control_count_there():
    options = {"effect": 0.0, "effect_among": "sessions >= 1", "effect_per_session": 0.05}
    changes = {"delivery": {"control_access": 0.3}, "outcomes.mansa": {**CONTINUOUS, **options}}
    batch = draw(changes, trials=5)
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(
        0.05 * (batch.at("sessions_offered") - batch.at("sessions_if_control")), abs=1e-12
    )


def test_what_cannot_be_asked_is_refused():
    for options in ({}, {"received": "received == 1", "dose": "sessions"}):
        with pytest.raises(ValidationError, match="one of them"):
            method("iv", **options)
    with pytest.raises(ValidationError, match="needs received, not dose"):
        method("iv", dose="sessions", never_taker_effect=0.1)
    with pytest.raises(ValidationError, match="in place of received"):
        Estimand(name="d", response="mansa", kind="cace", received="sessions >= 6", dose="sessions")


def test_its_default_estimand_is_its_limit():
    scenario = load("partners")[0]
    assert {e.name for e in scenario.estimands} >= {"itt"}
    from simtrial.scenario.default_estimand import default_estimand

    asked = method("iv", dose="sessions", response="mansa")
    wanted = [
        Estimand(name="cace", response="mansa", kind="cace", received="sessions >= 6"),
        Estimand(name="per session", response="mansa", kind="iv-limit", dose="sessions"),
    ]
    assert default_estimand(asked, wanted) == "per session"
