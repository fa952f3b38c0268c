"""Safety by plain loops, person by person and episode by episode, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import compare, first_reached, negative_binomial, rows


def serious(o, p, u):
    """Quantile, at u, of a negative binomial with the mean of the arm."""
    mean = o.serious_mean * (o.serious_rate_ratio if p["arm"] == 1 else 1.0)
    return first_reached(negative_binomial(mean, o.serious_shape), u) if mean else 0


def untreated_months(o, p):
    """Control: all of them; intervention: until allocation or the first contact, whichever it is (blank: never)."""
    if p["arm"] == 0:
        return o.months
    if o.treated_from == "allocation":
        return 0.0
    contact = p["first_contact_months"]
    return o.months if math.isnan(contact) else min(contact, o.months)


def onset(o, before, passed):
    """Month at which the cumulative rate, in months of untreated time, reaches ``passed``."""
    return passed if passed < before else before + (passed - before) / o.acute_rate_ratio


def safety(o, batch, rng):
    people = batch.index.participants
    table = rows(batch)
    found = {"serious_events": [serious(o, p, u) for p, u in zip(table, rng.random(people), strict=True)]}
    before = [untreated_months(o, p) for p in table]
    exposed = [b + o.acute_rate_ratio * (o.months - b) for b in before]
    episodes = found["acute_episodes"] = [rng.poisson(o.acute_rate / o.months * time) for time in exposed]
    for name, share in (("psychiatric", o.psychiatric_share), ("related", o.related_share)):
        found[f"{name}_events"] = [rng.binomial(n, share) for n in found["serious_events"]]
    number = sum(episodes)
    passed, kind, length = iter(rng.random(number)), iter(rng.random(number)), iter(rng.standard_normal(number))
    names = ("acute_treated", "first_acute_months", "admission_days", "crisis_days")
    found |= {name: [] for name in names}
    for i in range(people):
        treated, first, days = 0, math.nan, {"admission": 0, "crisis": 0}
        for _ in range(episodes[i]):
            share = next(passed) * exposed[i]
            treated += share >= before[i]
            first = min(onset(o, before[i], share), first) if first == first else onset(o, before[i], share)
            what = "admission" if next(kind) < o.admission_share else "crisis"
            median = o.admission_days_median if what == "admission" else o.crisis_days_median
            days[what] += math.ceil(median * math.exp(o.days_log_sd * next(length)))
        for name, value in zip(names, (treated, first, days["admission"], days["crisis"]), strict=True):
            found[name].append(value)
    return found


OPTIONS = {
    "published": {},
    "many events": {"serious_mean": 3.0, "serious_shape": 0.7, "serious_rate_ratio": 2.0, "related_share": 0.2},
    "no serious events in intervention": {"serious_rate_ratio": 0.0},
    "treated from allocation": {"treated_from": "allocation", "acute_rate": 2.0, "acute_rate_ratio": 0.4},
    "from the first contact": {"acute_rate": 3.0, "acute_rate_ratio": 2.5, "months": 1.0},
    "cured": {"acute_rate": 2.0, "acute_rate_ratio": 0.0},
    "lengths": {"acute_rate": 1.0, "admission_share": 0.2, "days_log_sd": 0.3, "crisis_days_median": 3.5},
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_episode_after_the_other(options) -> None:
    found = compare(safety, "safety", {"safety": options})
    assert sum(found["serious_events"]) > 0
    assert sum(found["acute_episodes"]) > 0
    assert np.nanmax(found["first_acute_months"]) <= options.get("months", 10.0)
