"""Recruitment after allocation by plain loops, person by person, from the same draws."""

import math

import pytest
from plain_loops import compare, phi, rows
from scipy import stats


def identification(o, batch, rng):
    """P(enrolled) = Phi(a + s z), z the standardised baseline, a = Phi^-1(share) sqrt(1 + s^2) of the arm."""
    shares = o.enrolment_control, o.enrolment_intervention
    slopes = o.baseline_slope_control, o.baseline_slope_intervention
    enrolled = []
    for p, u in zip(rows(batch), rng.random(batch.index.participants), strict=True):
        share, s = shares[int(p["arm"])], slopes[int(p["arm"])]
        a = float(stats.norm.ppf(share)) * math.sqrt(1 + s**2)
        z = (p["mansa_baseline"] - o.baseline_mean) / o.baseline_sd
        enrolled.append(int(u < (1.0 if share == 1 else phi(a + s * z))))
    return {"enrolled": enrolled}


OPTIONS = {
    "by arm": {"enrolment_control": 0.5, "enrolment_intervention": 0.8},
    "by baseline": {"enrolment_control": 0.7, "baseline_slope_control": -0.8, "baseline_slope_intervention": 0.6},
    "other scale": {"enrolment_intervention": 0.4, "enrolment_control": 0.9, "baseline_slope_intervention": 1.5,
                    "baseline_mean": 4.0, "baseline_sd": 0.5},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    found = compare(identification, "identification", {"identification": options})
    assert 0 < sum(found["enrolled"]) < len(found["enrolled"])
