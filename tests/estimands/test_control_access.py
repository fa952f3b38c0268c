"""Access in the control arm: controls reached there have the effect too, and compliers are those whom the arm moves."""

import numpy as np
import pytest
from simulated import CONTINUOUS, draw, partners

from simtrial.estimands import Estimand, true_values
from simtrial.generate.worlds import if_control

EFFECT = {**CONTINUOUS, "effect": 0.6, "effect_among": "sessions >= 6"}


def test_controls_with_access_are_reached_as_if_offered() -> None:
    """An identity in every person: Y(1) - Y(0) is the effect for compliers and 0 for all others."""
    batch = draw({"delivery": {"control_access": 0.3}, "outcomes.mansa": EFFECT}, trials=50)
    takes, has = batch.at("sessions_offered") >= 6, batch.at("access_if_control") == 1
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(0.6 * (takes & ~has), abs=1e-12)
    assert has.mean() == pytest.approx(0.3, abs=4.5 * np.sqrt(0.21 / len(has)))
    control = if_control(batch)
    assert np.array_equal(control.at("sessions"), batch.at("sessions_if_control"))
    without = ~has
    assert np.isnan(control.at("first_contact_months")[without]).all()
    assert (control.at("contact")[without] == 0).all()


def test_true_values_with_access() -> None:
    """CACE stays the effect on compliers, exactly; ITT is diluted by those with access: 0.6 P(takes) (1 - 0.3)."""
    changes = {"delivery": {"control_access": 0.3}, "outcomes.mansa": EFFECT}
    mechanism = partners(changes)
    cace = Estimand(name="c", response="mansa", kind="cace", received="sessions >= 6")
    itt, free = true_values([Estimand(name="i", response="mansa", kind="itt"), cace], mechanism, 1, "")
    assert free.value == pytest.approx(0.6, abs=1e-12)
    alone = true_values(
        [Estimand(name="i", response="mansa", kind="itt")], partners({"outcomes.mansa": EFFECT}), 1, ""
    )[0]
    assert itt.value == pytest.approx(0.7 * alone.value, abs=4.5 * np.hypot(itt.mcse, alone.mcse))


def test_without_access_nothing_changes() -> None:
    batch = draw({"outcomes.mansa": EFFECT}, trials=5)
    difference = batch.at("mansa_if_intervention") - batch.at("mansa_if_control")
    assert difference == pytest.approx(0.6 * (batch.at("sessions_offered") >= 6), abs=1e-12)
