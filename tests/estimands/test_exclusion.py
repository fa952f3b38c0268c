"""True values where allocation acts on those who do not receive, where some defy it, and where practices decide."""

import numpy as np
import pytest
from simulated import CONTINUOUS, draw, drawn_by, partners

from simtrial.errors import ScenarioError
from simtrial.estimands import Estimand, true_values
from simtrial.expressions import evaluate
from simtrial.generate.worlds import if_control, if_offered
from simtrial.scenario import load

TAKEN = "sessions >= 6"
EFFECT = {**CONTINUOUS, "effect": 0.6, "effect_among": TAKEN}


def estimand(kind, **more):
    received = {} if kind == "itt" else {"received": TAKEN}
    return Estimand(name=kind, response="mansa", kind=kind, **received, **more)


def values(changes, *kinds):
    return [found.value for found in true_values([estimand(k) for k in kinds], partners(changes), 1, "")]


def share(changes):
    """Compliers, never-takers and defiers among the people that true values are made of (500 trials)."""
    batch = draw(changes, trials=500)
    offered, control = evaluate(TAKEN, if_offered(batch)), evaluate(TAKEN, if_control(batch))
    return [float(one.mean()) for one in (offered & ~control, ~offered & ~control, control & ~offered)]


def test_a_stated_violation_of_the_exclusion_restriction():
    """In every person; ITT = pi cace + (1 - pi) otherwise, and the ratio tends to cace + otherwise (1 - pi)/pi."""
    changes = {"outcomes.mansa": {**EFFECT, "effect_otherwise": 0.2}}
    batch = draw(changes, trials=20)
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(np.where(batch.at("sessions_offered") >= 6, 0.6, 0.2), abs=1e-12)
    itt, cace, limit = values(changes, "itt", "cace", "iv-limit")
    assert cace == pytest.approx(0.6, abs=1e-12)
    pi = (itt - 0.2) / 0.4
    assert pi == pytest.approx(share(changes)[0], abs=0.01)
    assert limit == pytest.approx(0.6 + 0.2 * (1 - pi) / pi, rel=1e-9)


def test_always_takers_have_no_effect_of_allocation():
    changes = {"delivery": {"control_access": 0.3}, "outcomes.mansa": {**EFFECT, "effect_otherwise": 0.2}}
    batch = draw(changes, trials=20)
    takes, has = batch.at("sessions_offered") >= 6, batch.at("access_if_control") == 1
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(np.where(takes, 0.6 * ~has, 0.2), abs=1e-12)
    compliers, never, _ = share(changes)
    itt, limit = values(changes, "itt", "iv-limit")
    assert itt == pytest.approx(0.6 * compliers + 0.2 * never, abs=0.006)
    assert limit == pytest.approx(itt / compliers, rel=0.02)


def test_defiers_receive_in_control_only():
    """ITT = effect (pi_c - pi_d), so the ratio tends to the effect although some defy: it is the same in both."""
    changes = {"delivery": {"defiers": 0.15}, "outcomes.mansa": EFFECT}
    batch = draw(changes, trials=20)
    offered, control = evaluate(TAKEN, if_offered(batch)), evaluate(TAKEN, if_control(batch))
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(0.6 * (offered.astype(float) - control), abs=1e-12)
    assert not (offered & control).any()
    arm = batch.at("arm") == 1
    assert np.array_equal(batch.at("sessions") >= 6, np.where(arm, offered, control))
    compliers, _, defiers = share(changes)
    assert defiers == pytest.approx(0.15 * (compliers + defiers), abs=0.01)
    itt, cace, limit = values(changes, "itt", "cace", "iv-limit")
    assert itt == pytest.approx(0.6 * (compliers - defiers), abs=0.006)
    assert cace == pytest.approx(0.6, abs=1e-12)
    assert limit == pytest.approx(0.6, abs=1e-9)


def test_defiers_that_gain_otherwise_pull_the_ratio_away():
    """The offer itself does 0.2 to never-takers and defiers: (0.6 pi_c + 0.2 pi_n + (0.2 - 0.6) pi_d)/(pi_c - pi_d)."""
    changes = {"delivery": {"defiers": 0.2}, "outcomes.mansa": {**EFFECT, "effect_otherwise": 0.2}}
    compliers, never, defiers = share(changes)
    (limit,) = values(changes, "iv-limit")
    expected = (0.6 * compliers + 0.2 * never + (0.2 - 0.6) * defiers) / (compliers - defiers)
    assert limit == pytest.approx(expected, abs=0.02)


def test_practices_decide():
    """With a correlation of 1 all people of a practice have the same sessions."""
    batch = draw({"delivery": {"availability_correlation": 1.0}, "outcomes.mansa": EFFECT}, trials=20)
    sessions, practice = batch.at("sessions_offered"), batch.index.participant_practice
    first = np.searchsorted(practice, np.arange(batch.index.practices))
    assert np.array_equal(sessions, sessions[first][practice])
    (cace,) = values({"delivery": {"availability_correlation": 1.0}, "outcomes.mansa": EFFECT}, "cace")
    assert cace == pytest.approx(0.6, abs=1e-12)


@pytest.mark.parametrize(
    ("stage", "changes"), [("delivery", {"defiers": 0.3}), ("outcomes.mansa", {"effect_otherwise": 0.3})]
)
def test_other_draws_stay(stage, changes):
    """Columns that the option says nothing of are bit for bit the same."""
    batch = draw(trials=10)
    plain, changed = (
        drawn_by(partners({stage: {**extra, **({"effect_among": TAKEN} if stage != "delivery" else {})}})[stage], batch)
        for extra in ({}, changes)
    )
    same = (
        ["availability_offered", "engagement"] if stage == "delivery" else ["mansa_practice_effect", "followup_months"]
    )
    same = [name for name in same if name in plain]
    assert same
    for name in same:
        assert np.array_equal(plain[name], changed[name])
    if stage == "delivery":
        stays = changed["access_if_control"] == 0
        assert np.array_equal(plain["sessions_offered"][stays], changed["sessions_offered"][stays])


def test_what_makes_no_sense_is_refused():
    with pytest.raises(ScenarioError, match="effect_otherwise is for those outside effect_among"):
        load("partners", ["mechanism.outcomes.mansa.effect_otherwise=0.1", "mechanism.outcomes.mansa.effect_among=''"])
    with pytest.raises(ValueError, match="no value in a finite one"):
        estimand("iv-limit", finite=True)
