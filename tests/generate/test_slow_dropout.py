"""Dropout by plain loops: moments, thresholds and people one after the other, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import assert_same, before, rows
from scipy.optimize import brentq
from scipy.stats import norm
from simulated import drawn_by

from simtrial.generate import STAGES, simulate
from simtrial.generate.missing import dropout_model

POPULATION = 300
"""Practices in which the thresholds are found here: fewer than the 20,000 of the stage, to loop over."""


@pytest.fixture(autouse=True)
def small_population(monkeypatch):
    """Thresholds from a smaller population, and nothing of it kept for other tests."""
    monkeypatch.setattr(dropout_model, "PRACTICES", POPULATION)
    monkeypatch.setattr(dropout_model, "_population", dropout_model._population.__wrapped__)
    monkeypatch.setattr(dropout_model, "_calibrated", dropout_model._calibrated.__wrapped__)


def value(name, p):
    """What a slope is on: a covariate, a category (0 or 1), the outcome that happens, or its change."""
    realised = p["mansa_if_intervention"] if p["arm"] == 1 else p["mansa_if_control"]
    if name in ("outcome", "change"):
        return realised - (p["mansa_baseline"] if name == "change" else 0.0)
    if "=" in name:
        column, category = name.split("=")
        return float(p[column] == category)
    return p[name]


def slopes(o):
    """Slopes in control and in intervention, by what they are on."""
    names = [*o.slopes, *(name for name in o.slopes_intervention if name not in o.slopes)]
    found = {n: (o.slopes.get(n, 0.0), o.slopes_intervention.get(n, o.slopes.get(n, 0.0))) for n in names}
    treated = o.outcome_slope if o.outcome_slope_intervention is None else o.outcome_slope_intervention
    found |= {"sessions": (0.0, o.sessions_slope), "outcome": (o.outcome_slope, treated)}
    found |= {"change": (o.change_slope,) * 2, "practice_effect": (o.practice_effect_slope,) * 2}
    return {name: pair for name, pair in found.items() if any(pair)}


def scale(name, pair, population):
    """Mean and SD (divisor n) among the people to whom a slope applies and who have a value; categories: 0 and 1."""
    if "=" in name:
        return 0.0, 1.0
    values = [value(name, p) for p in population if pair[int(p["arm"])]]
    values = [x for x in values if not math.isnan(x)]
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((x - mean) ** 2 for x in values) / len(values))


def linear(p, terms, scales):
    """Slopes times x in SDs from the mean; a blank counts as the mean."""
    total = 0.0
    for name, pair in terms.items():
        mean, sd = scales[name]
        x = (value(name, p) - mean) / sd
        total += 0.0 if math.isnan(x) else pair[int(p["arm"])] * x
    return total


def probability(o, arm):
    """Of dropping out, among those who neither die nor leave before baseline."""
    rate = o.rate_intervention if arm == 1 and o.rate_intervention is not None else o.rate
    least = o.died + o.withdrawn_before_baseline
    return (rate - least) / (1 - least)


def excess(c, scores, own, probability):
    """Mean over people of P(score + own z > c), less what it should be."""
    return math.fsum(0.5 * math.erfc((c - s) / own / math.sqrt(2)) for s in scores) / len(scores) - probability


def limits(o, terms, scales, population):
    """The c of either arm: mean over its people of P(slopes'x + r engagement + sqrt(1 - r^2) z > c) is the rate."""
    r, found = o.engagement_correlation, []
    for arm in (0, 1):
        p = probability(o, arm)
        if not terms or p == 0:
            found.append(float(norm.isf(p)))
            continue
        scores = [linear(x, terms, scales) + r * x["engagement"] for x in population if x["arm"] == arm]
        if abs(r) == 1:  # nothing left to draw: the quantile between two ordered scores
            scores.sort()
            place = (1 - p) * (len(scores) - 1)
            low = int(place)
            found.append(scores[low] + (place - low) * (scores[low + 1] - scores[low]))
            continue
        own = math.sqrt(1 - r**2)
        found.append(float(brentq(excess, -50, 50, args=(scores, own, p), xtol=1e-11)))
    return found


def dropout(o, batch, population, rng):
    index, r = batch.index, o.engagement_correlation
    terms = slopes(o)
    scales = {name: scale(name, pair, population) for name, pair in terms.items()}
    c = limits(o, terms, scales, population)
    z, lost = rng.standard_normal(index.participants), rng.random(index.practices)
    leaves = o.died + o.withdrawn_before_baseline
    uniform = rng.random(index.participants) if leaves else np.ones(index.participants)
    found = {"followed_up": [], "died": [], "seen_at_baseline": []}
    for i, p in enumerate(rows(batch)):
        died = uniform[i] < o.died
        withdrew = o.died <= uniform[i] < leaves
        score = linear(p, terms, scales) + r * p["engagement"] + math.sqrt(1 - r**2) * z[i]
        gone = died or withdrew or score > c[int(p["arm"])] or lost[p["j"]] < o.practice_rate
        found["followed_up"].append(int(not gone))
        found["died"].append(int(died))
        found["seen_at_baseline"].append(int(not withdrew))
    if not o.withdrawn_before_baseline:
        del found["seen_at_baseline"]
    return found, c, scales


OPTIONS = {
    "published": {},
    "by arm": {"rate": 0.1, "rate_intervention": 0.35, "engagement_correlation": 0.5},
    "practices": {"practice_rate": 0.3, "engagement_correlation": 0.0},
    "deaths and withdrawals": {"died": 0.05, "withdrawn_before_baseline": 0.1, "rate": 0.3},
    "covariates": {
        "slopes": {"mansa_baseline": -0.6, "provider=secondary": 0.5, "smoking_times_per_day": 0.8, "age": -0.3},
        "slopes_intervention": {"mansa_baseline": 0.7, "region=Cornwall": -0.4},
    },
    "sessions": {"sessions_slope": -1.0, "rate_intervention": 0.3},
    "outcome": {"outcome_slope": -0.7, "outcome_slope_intervention": 0.4, "practice_effect_slope": 0.5},
    "change": {"change_slope": 0.9, "engagement_correlation": -0.6},
    "engagement alone": {"change_slope": 0.4, "engagement_correlation": 1.0},
    "all together": {
        "rate": 0.25, "rate_intervention": 0.4, "practice_rate": 0.1, "died": 0.03, "withdrawn_before_baseline": 0.05,
        "slopes": {"age": 0.4}, "slopes_intervention": {"age": 0.0}, "sessions_slope": -0.5, "outcome_slope": 0.3,
        "change_slope": -0.2, "practice_effect_slope": 0.6,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    """Thresholds agree to 1e-8 (theirs is solved to 1e-9), and so everybody whose score is not nearer to them."""
    mechanism, batch = before("dropout", {"dropout": options, "outcomes.mansa": {"effect": 0.6}})
    step = mechanism["dropout"].settled(mechanism)
    population = []
    if step._calibration is not None:
        earlier = {stage: mechanism[stage] for stage in STAGES[: STAGES.index("dropout")] if stage in mechanism}
        number = mechanism["practices"].number
        trials = math.ceil(POPULATION / number)
        population = rows(simulate(earlier, trials, 0, "", 0, purpose="dropout calibration: "))
    expected, c, scales = dropout(step, batch, population, np.random.default_rng(8))
    assert_same(drawn_by(step, batch, seed=8), expected)
    if population:
        assert np.allclose(step._calibration.thresholds, c, rtol=0, atol=1e-8)
        assert np.allclose(step._calibration.means, [m for m, _ in scales.values()], rtol=1e-12, atol=1e-12)
        assert np.allclose(step._calibration.sds, [s for _, s in scales.values()], rtol=1e-12, atol=0)
    assert 0 < sum(expected["followed_up"]) < len(expected["followed_up"])
