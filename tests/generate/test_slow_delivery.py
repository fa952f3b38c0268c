"""Delivery by plain loops, practice by practice and person by person, from the same draws."""

import math
from functools import cache

import numpy as np
import pytest
from plain_loops import compare, first_reached, gamma_quantile, negative_binomial, phi, rows, tabulated
from scipy import stats


@cache
def beta_quantile(alpha, beta, z):
    return float(stats.beta.ppf(phi(z), alpha, beta))


@cache
def attended(mu, k):
    """P(S = 1), P(S = 2), ... given at least one session, in proportion."""
    return negative_binomial(mu, k)[1:]


def in_post(o, share, uniforms):
    """Months with a care partner in post: kept from the month before, or decided anew with probability turnover."""
    filled, months = False, 0
    for month, u in enumerate(uniforms):
        p = share if month == 0 else (1 - o.availability_turnover) * filled + o.availability_turnover * share
        filled = u < p
        months += filled
    return months / len(uniforms)


def shift(o, p):
    """Sum of effects: per SD of a number from its centre (a blank shifts nothing), or in a category."""
    total = 0.0
    for key, effect in o.engagement_effects.items():
        name, _, category = key.partition("=")
        if category:
            total += effect if p[name] == category else 0.0
        else:
            centre, sd = o.engagement_scale[name]
            total += 0.0 if math.isnan(p[name]) else effect * (p[name] - centre) / sd
    return total


def engagement(o, p, own, shared):
    """r z + sqrt(1 - r^2) (sqrt(icc) g + sqrt(1 - icc) e), z the standardised baseline, and the shifts."""
    icc, r = o.engagement_icc, o.engagement_baseline
    value = math.sqrt(icc) * shared + math.sqrt(1 - icc) * own
    if r:
        centre, sd = o.engagement_scale["mansa_baseline"]
        value = r * (p["mansa_baseline"] - centre) / sd + math.sqrt(1 - r**2) * value
    return value + shift(o, p)


def sessions(o, z, e):
    """Quantile, at Phi(c z + sqrt(1 - c^2) e), of no session with no_contact and a truncated binomial otherwise."""
    c = o.availability_correlation
    u = phi(c * z + math.sqrt(1 - c**2) * e)
    if u < o.no_contact:
        return 0
    return first_reached(attended(o.sessions_mu, o.sessions_shape), (u - o.no_contact) / (1 - o.no_contact), 1)


def first_contact(o, z):
    shape = 1 / o.first_contact_cv**2
    return o.first_contact_months * tabulated(lambda s: gamma_quantile(shape, s), z) / shape


def minutes(o, number, rng):
    """10 + the mean of S gammas of mean m = session_minutes - 10: a gamma of shape S (m/sd)^2; drawn for everybody."""
    m = o.session_minutes - 10
    shape = max(number, 1) * (m / o.session_minutes_sd) ** 2
    mean = 10 + m * rng.standard_gamma(shape) / shape
    return mean if number else math.nan


NOTHING = {"first_contact_months": math.nan, "session_minutes": math.nan}
RECEIVED = ("sessions", "goal_sessions", "contact", "goals_assessed", "first_contact_months", "session_minutes")


def delivery(o, batch, rng):
    index = batch.index
    posts, of_practice, contact, length, open_to, against = rng.spawn(6)
    z, own = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
    shared = of_practice.standard_normal(index.practices) if o.engagement_icc else np.zeros(index.practices)
    in_months = posts.random((o.availability_months, index.practices))
    assessed, first = contact.random(index.participants), contact.standard_normal(index.participants)
    has = open_to.random(index.participants) < o.control_access
    defies = against.random(index.participants) < o.defiers
    beside = RECEIVED if o.defiers else ("sessions", "goal_sessions")
    names = ("availability_offered", "engagement", "access_if_control", *(f"{n}_if_control" for n in beside))
    names = (*names, "availability", *RECEIVED, *(f"{n}_offered" for n in RECEIVED))
    found = {name: [] for name in names}
    for j, practice in enumerate(rows(batch, "practice")):
        share = tabulated(lambda s: beta_quantile(o.availability_alpha, o.availability_beta, s), z[j])
        realised = in_post(o, share, in_months[:, j]) if o.availability_months else share
        found["availability_offered"].append(realised)
        found["availability"].append(realised if practice["arm"] == 1 else math.nan)
    for i, p in enumerate(rows(batch)):
        found["engagement"].append(engagement(o, p, own[i], shared[p["j"]]))
        offered = {"sessions": sessions(o, z[p["j"]], found["engagement"][i])}
        offered["goal_sessions"] = rng.binomial(offered["sessions"], o.goal_share)
        offered["contact"] = int(offered["sessions"] > 0)
        offered["goals_assessed"] = int(offered["contact"] and assessed[i] < o.goals_assessed_share)
        offered["first_contact_months"] = first_contact(o, first[i]) if offered["contact"] else math.nan
        offered["session_minutes"] = minutes(o, offered["sessions"], length)
        access = int(has[i] or defies[i])
        found["access_if_control"].append(access)
        for name in RECEIVED:
            nothing = NOTHING.get(name, 0)
            control, treated = offered[name] if access else nothing, nothing if defies[i] else offered[name]
            found[f"{name}_offered"].append(treated)
            found[name].append(treated if p["arm"] == 1 else control)
            if name in beside:
                found[f"{name}_if_control"].append(control)
    return found


OPTIONS = {
    "published": {},
    "posts filled and vacated": {"availability_months": 12, "availability_turnover": 0.3},
    "engagement": {
        "engagement_icc": 0.3, "engagement_baseline": 0.4,
        "engagement_effects": {"provider=secondary": -0.6, "age": 0.3, "smoking_times_per_day": 0.5},
        "engagement_scale": {"age": [50.0, 10.0], "mansa_baseline": [4.0, 1.1], "smoking_times_per_day": [17.0, 12.0]},
    },
    "shared alone": {"engagement_icc": 0.5, "availability_correlation": 1.0},
    "access in control": {"control_access": 0.4, "goal_share": 0.5, "goals_assessed_share": 0.6},
    "defiers": {"defiers": 0.3, "control_access": 0.2},
    "few and many sessions": {"sessions_mu": 40.0, "sessions_shape": 0.4, "no_contact": 0.4, "first_contact_cv": 1.4,
                              "session_minutes_sd": 50.0, "availability_correlation": 0.0},
    "all together": {
        "availability_months": 24, "availability_alpha": 1.2, "engagement_icc": 0.1, "engagement_baseline": -0.5,
        "engagement_effects": {"region=Plymouth": 1.0}, "control_access": 0.1, "no_contact": 0.0,
    },
}  # fmt: skip


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options) -> None:
    found = compare(delivery, "delivery", {"delivery": options})
    assert max(found["sessions"]) > 10


def test_quantiles_between_the_tabulated_scores_are_off_by_less_than_1e_4() -> None:
    """What straight lines between 4,001 scores cost, at the middles of all steps between -5 and 5."""
    for k in range(-1250, 1250, 7):
        z = 0.004 * k + 0.002
        assert abs(tabulated(lambda s: beta_quantile(5.0, 1.3, s), z) - beta_quantile(5.0, 1.3, z)) < 1e-4
        assert abs(tabulated(lambda s: gamma_quantile(2.5, s), z) - gamma_quantile(2.5, z)) < 1e-4
