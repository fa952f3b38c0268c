"""MANSA at follow-up by plain loops, person by person, from the same draws: nothing of the stage's own arithmetic."""

import math

import numpy as np
import pytest
from plain_loops import (
    assert_same,
    before,
    compare,
    location,
    recorded,
    rows,
    shaped,
    spread_of_ratings,
)
from simulated import drawn_by

REACHED = {
    "": lambda p: True,
    "sessions >= 6": lambda p: p["sessions"] >= 6,
    "contact == 1 and sex == 'female'": lambda p: p["contact"] == 1 and p["sex"] == "female",
    "arm == 1": lambda p: p["arm"] == 1,
}
"""What the expressions of effect_among say."""

RECEIVED = ("sessions", "goal_sessions", "contact", "goals_assessed", "first_contact_months", "session_minutes")
NOTHING = {"first_contact_months": math.nan, "session_minutes": math.nan}


def if_offered(p):
    return p | {"arm": 1} | {name: p[f"{name}_offered"] for name in RECEIVED}


def if_control(p):
    """In control: what they would have if offered for those with access, nothing for the others."""
    if p["access_if_control"]:
        return if_offered(p) | {"arm": 0}
    return p | {"arm": 0} | {name: NOTHING.get(name, 0) for name in RECEIVED}


def sds(o, offered):
    """Of u and of v: var(u) = icc s^2, var(v) = (1 - icc) s^2, less the variance that ratings make themselves."""
    s = o.residual_sd_intervention if offered and o.residual_sd_intervention else o.residual_sd
    icc = o.icc_intervention if offered and o.icc_intervention >= 0 else o.icc
    noise = o.item_deviation_sd**2 / o.items if o.form == "items" else 0.0
    return s * math.sqrt(icc), math.sqrt((1 - icc) * s**2 - noise)


def sizes(o, p, per_recruited, per_register):
    total = 0.0
    if per_recruited:
        total += per_recruited * (math.log(p["recruited"]) - o.size_log_mean) / o.size_log_sd
    if per_register:
        total += per_register * (math.log(p["register_size"]) - o.register_log_mean) / o.register_log_sd
    return total


def expected(o, p):
    """Mean + slope (Y0 - at_baseline) + shifts by region, size class, sizes and period."""
    value = o.mean + o.baseline_slope * (p["mansa_baseline"] - o.at_baseline)
    value += o.region_effects.get(p["region"], 0.0)
    value += o.small_practice_effect if p["practice_size"] == "small" else 0.0
    value += o.pandemic_effect if p["period"] == "during" else 0.0
    return value + sizes(o, p, o.size_outcome, o.register_outcome)


def effect(o, p, w, otherwise=0.0):
    """All parts added up, for somebody in a world, if that person is in effect_among there."""
    if not REACHED[o.effect_among](p):
        return otherwise
    value = o.effect + w + sizes(o, p, o.size_effect, o.register_effect)
    value += o.baseline_effect * (p["mansa_baseline"] - o.effect_at_baseline)
    value += o.pandemic_interaction if p["period"] == "during" else 0.0
    for key, more in o.subgroup_effects.items():
        column, category = key.split("=")
        value += more if str(p[column]) == category or p[column] == number(category) else 0.0
    return value


def number(text):
    try:
        return float(text)
    except ValueError:
        return None


def residual(o, p, z, own, offered):
    """u + v: r and c of what practices and people have in control are common to both arms, the rest is stretched."""
    (common_u, common_v), (between, within) = sds(o, False), sds(o, True) if offered else sds(o, False)
    r, c = o.cluster_autocorrelation, o.engagement_correlation
    u = (
        r * common_u * p["baseline_practice_score"] + math.sqrt(between**2 - (r * common_u) ** 2) * z
        if r
        else between * z
    )
    v = c * common_v * p["engagement"] + math.sqrt(within**2 - (c * common_v) ** 2) * own if c else within * own
    return u + v


def outcomes(o, p, z, own, w):
    """Y(0) and Y(1) before they are recorded, from the normals of practice and person."""
    control = expected(o, p) + residual(o, p, z, own, False)
    offered = expected(o, p) + residual(o, p, z, own, True) + effect(o, if_offered(p), w, o.effect_otherwise)
    if o.effect_among and p["access_if_control"]:
        control += effect(o, if_control(p), w)
    return control, offered


def planned(o, p):
    late = o.short_followup_from and p["allocation_month"] >= o.short_followup_from
    return o.short_followup_months if late else o.followup_months


def scores_of(o, batch, rng):
    """Every person's Y(0) and Y(1) before recording, and the columns beside them."""
    index, r = batch.index, o.cluster_autocorrelation
    z_practice, z_person = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
    z_months = rng.standard_normal(index.participants)
    z_effect = rng.standard_normal(index.practices) if o.effect_sd else np.zeros(index.practices)
    found = {"practice_effect": [], "followup_months": [], "in_window": []}
    deviations, standard = [], []
    for j, practice in enumerate(rows(batch, "practice")):
        u = shaped(z_practice[j], o.practice_effects, o.practice_df, o.practice_skewness)
        standard.append(u)
        u = r * practice["baseline_practice_score"] + math.sqrt(1 - r**2) * u
        rho = o.effect_practice_correlation
        deviations.append(o.effect_sd * (rho * u + math.sqrt(1 - rho**2) * z_effect[j]))
        found["practice_effect"].append(sds(o, False)[0] * u)
    both = []
    for i, p in enumerate(rows(batch)):
        v = shaped(z_person[i], o.residuals, o.residual_df, o.residual_skewness)
        both.append(outcomes(o, p, standard[p["j"]], v, deviations[p["j"]]))
        late = o.followup_months_sd * z_months[i]
        found["followup_months"].append(planned(o, p) + late)
        found["in_window"].append(int(abs(late) <= o.window_months))
        if o.residual_sd_intervention or o.icc_intervention >= 0:
            z = standard[p["j"]], v
            difference = residual(o, p, *z, True) - residual(o, p, *z, False)
            found.setdefault("mansa_residual_difference", []).append(difference)
    return both, found | ({"effect_deviation": deviations} if o.effect_sd else {})


def direct(o, batch, rng):
    both, found = scores_of(o, batch, rng)
    scale = o.items, o.lowest, o.highest
    found["mansa_if_control"] = [recorded(y0, *scale) for y0, _ in both]
    found["mansa_if_intervention"] = [recorded(y1, *scale) for _, y1 in both]
    potential = (found["mansa_if_control"], found["mansa_if_intervention"])
    found["mansa_followup"] = [potential[int(p["arm"])][i] for i, p in enumerate(rows(batch))]
    return found


LOG_SIZES = {"size_log_mean": 1.4, "size_log_sd": 0.7, "register_log_mean": 4.2, "register_log_sd": 0.6}
OPTIONS = {
    "published": {},
    "continuous": {"items": 0, "baseline_slope": 0.0, "followup_months_sd": 0.3},
    "t": {"residuals": "t", "residual_df": 3.0, "practice_effects": "t", "practice_df": 7.0, "items": 0},
    "skewed": {"residuals": "skewed", "practice_effects": "skewed", "practice_skewness": -2.0, "items": 0},
    "autocorrelation": {"cluster_autocorrelation": 0.6, "engagement_correlation": -0.4, "items": 0},
    "arms differ": {"residual_sd_intervention": 1.1, "icc_intervention": 0.05, "items": 0},
    "arms differ in ICC alone": {"icc_intervention": 0.4, "items": 0},
    "effects vary": {"effect_sd": 0.3, "effect_practice_correlation": -0.7, "effect": 0.5, "effect_among": ""},
    "subgroups": {
        "subgroup_effects": {"region=Cornwall": 0.4, "provider=secondary": -0.3, "smoking=1": 0.2, "sessions=8": 1.0},
        "effect_among": "contact == 1 and sex == 'female'",
    },
    "sizes": {
        "size_effect": 0.2, "size_outcome": -0.1, "register_effect": 0.3, "register_outcome": 0.15, "items": 0,
        "effect_among": "arm == 1", **LOG_SIZES,
    },
    "shifts": {"region_effects": {"Plymouth": 0.5, "Somerset": -0.2}, "small_practice_effect": -0.3, "items": 0},
    "by baseline": {"baseline_effect": 0.5, "effect_at_baseline": 4.0, "effect": 0.2, "items": 0, "effect_among": ""},
    "by baseline of some": {"baseline_effect": -0.4, "effect_among": "contact == 1 and sex == 'female'"},
    "pandemic": {"pandemic_effect": -0.4, "pandemic_interaction": 0.6, "items": 0, "effect_among": ""},
    "timing": {"short_followup_from": 12.0, "short_followup_months": 7.5, "window_months": 0.6},
    "all together": {
        "residuals": "skewed", "practice_effects": "t", "cluster_autocorrelation": -0.5, "engagement_correlation": 0.3,
        "residual_sd_intervention": 0.9, "icc_intervention": 0.3, "effect_sd": 0.2, "effect": 0.7,
        "effect_practice_correlation": 0.5, "size_effect": -0.2, "pandemic_interaction": 0.2, "items": 0,
        "subgroup_effects": {"sex=male": 0.3}, "lowest": 2.0, "highest": 6.0, **LOG_SIZES,
    },
}  # fmt: skip


@pytest.mark.parametrize("access", [0.0, 0.4])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(options, access) -> None:
    found = compare(direct, "outcomes.mansa", {"outcomes.mansa": options, "delivery": {"control_access": access}})
    assert found["mansa_if_control"] != found["mansa_if_intervention"]  # somebody is reached


ITEMS = {"form": "items", "item_deviation_sd": 1.34, "item_missing": 0.1, "items_needed": 10, "effect": 0.8}
CLOSE = 2e-3
"""Half the width of the band about a half in which a rating may round to either side: locations are read off a table
with steps of 1/133 point, whose straight lines are within 5e-5 of the curve, and the spread agrees to 2e-4, which
deviations up to 5 SDs turn into 1e-3."""


def rated(score, z, spread, o):
    """Ratings of one person, and whether any of them lies so near a half that it could be rounded either way."""
    at = [location(score, spread, o.lowest, o.highest) + spread * each for each in z]
    close = any(abs(abs(x - math.floor(x)) - 0.5) < CLOSE for x in at)
    return [min(max(round(x), o.lowest), o.highest) for x in at], close


@pytest.mark.parametrize("missing", [0.0, 0.1])
def test_ratings_item_by_item(missing) -> None:
    """People are left out who have a rating within CLOSE of a half: 11 ratings twice, 4 CLOSE wide: about 2 in 25."""
    options = {**ITEMS, "item_missing": missing, "items_needed": 10 if missing else 1}
    mechanism, batch = before("outcomes.mansa", {"outcomes.mansa": options})
    o = mechanism["outcomes.mansa"]
    ours = drawn_by(o, batch, seed=8)
    rng = np.random.default_rng(8)
    both, found = scores_of(o, batch, rng)
    assert_same({name: ours[name] for name in found}, found)
    people = batch.index.participants
    z = rng.standard_normal((people, o.items))
    answered = rng.random((people, o.items)) >= missing if missing else np.ones((people, o.items), dtype=bool)
    sd = o.residual_sd * math.sqrt(1 + (o.baseline_slope * 0.93 / 0.701) ** 2)
    spread = spread_of_ratings(1.34, 1.0, 7.0, o.mean, math.sqrt(sd**2 - 1.34**2 / 11))
    assert math.isclose(o.ratings.spread_of_ratings(o.mean, sd), spread, abs_tol=2e-4)
    compared = 0
    for i, p in enumerate(rows(batch)):
        (r0, close0), (r1, close1) = (rated(score, z[i], spread, o) for score in both[i])
        if close0 or close1:
            continue
        compared += 1
        assert math.isclose(ours["mansa_if_control"][i], sum(r0) / 11, abs_tol=1e-12)
        assert math.isclose(ours["mansa_if_intervention"][i], sum(r1) / 11, abs_tol=1e-12)
        happens = [r for r, there in zip(r1 if p["arm"] == 1 else r0, answered[i], strict=True) if there]
        enough = len(happens) >= o.items_needed
        score = sum(happens) / len(happens) if enough else sum(r1 if p["arm"] == 1 else r0) / 11
        assert math.isclose(ours["mansa_followup"][i], score, abs_tol=1e-12)
        if missing:
            assert (ours["mansa_items_followup"][i], ours["mansa_scored_followup"][i]) == (len(happens), enough)
    assert compared > 0.8 * people
