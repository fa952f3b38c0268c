"""The exclusion restriction relaxed by a stated amount."""

import numpy as np
import pytest
from reference import method
from simulated import CONTINUOUS, draw
from trials import batch, fit, ragged

from simtrial.flags import text

IV = {"received": "received == 1"}
NUMBERS = ("estimate", "std_error", "df", "ci_lower", "ci_upper", "p_value")


@pytest.mark.parametrize("effect", [0.3, -0.5])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"ci": "anderson-rubin"},
        {"ci": "tf"},
        {"se": "classical", "df": "residual"},
        {"level_of_analysis": "cluster", "ci": "fieller", "adjust": []},
    ],
    ids=str,
)
def test_it_is_the_analysis_of_the_outcome_less_that_effect(options, effect):
    """Of practice means without covariates: their first stage leaves arm out."""
    data = ragged(5, practices=16)
    less = data["mansa_followup"] - effect * data["arm"] * (1 - data["received"])
    asked = {"adjust": ["mansa_baseline"], **IV, **options}
    one = fit(batch(data), method("iv", never_taker_effect=effect, **asked), every_term=True)
    other = fit(batch({**data, "mansa_followup": less}), method("iv", **asked), every_term=True)
    for name in NUMBERS:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-9, atol=1e-12)
    assert one.terms == other.terms


def test_the_shift_is_in_closed_form_also_for_mixed_models():
    data = ragged(6, practices=16)
    plain, moved = (
        fit(batch(data), method("iv", adjust=[], ratio="lmm", never_taker_effect=h, **IV)) for h in (0.0, 0.4)
    )
    share = plain.extras["first_stage"][0]
    assert moved.estimate[0, 0] - plain.estimate[0, 0] == pytest.approx(-0.4 * (1 - share) / share, rel=1e-10)


def test_the_true_effect_on_others_gives_the_complier_effect():
    """500 trials of partners at once, within four standard errors of their mean; without it the ratio is far off."""
    effect = {**CONTINUOUS, "effect": 0.6, "effect_among": "sessions >= 6", "effect_otherwise": 0.4}
    observed = draw({"outcomes.mansa": effect}, trials=500).observed()
    found = {
        h: fit(
            observed, method("iv", adjust=["mansa_baseline"], received="sessions >= 6", never_taker_effect=h)
        ).estimate[0]
        for h in (0.0, 0.4)
    }
    error = found[0.4].std() / np.sqrt(500)
    assert found[0.4].mean() == pytest.approx(0.6, abs=4 * error)
    assert found[0.0].mean() > 0.7


def test_receipt_in_control_has_no_place():
    data = ragged(7, practices=16)
    data["received"] = np.maximum(data["received"], (np.arange(len(data["arm"])) % 9 == 0))
    found = fit(batch(data), method("iv", adjust=[], never_taker_effect=0.1, **IV))
    assert found.failed[0]
    assert text(int(found.flags[0])) == "receipt_in_control"
