"""Secondary outcomes by plain loops, person by person, from the same draws; and the margins they are recorded with.

The distribution before recording (mean, SD) and the correlation of the normal scores are solved once per setting, to a
stated tolerance: the twin takes them as they are, and a test of its own holds them against exact sums.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
from plain_loops import before, compare, gamma_quantile, phi, rows, tabulated
from scipy import stats


def score(m, z):
    """Score before recording at a normal score: linear, or a gamma above the lowest of the same mean and SD."""
    if m.shape == "normal":
        return m.mean + m.sd * z
    above = m.mean - m.lowest
    shape, scale = (above / m.sd) ** 2, m.sd**2 / above
    return m.lowest + scale * tabulated(lambda s: gamma_quantile(shape, s), z)


def record(m, x):
    """Rounded to the grid of the scale and kept within its bounds."""
    rounded = round(round(x / m.grid) * m.grid, 9) if m.grid else x
    return min(max(rounded, m.lowest), m.highest)


def of_mansa(o, p):
    """Standardised MANSA at baseline, and the individual part of its follow-up residual in SDs."""
    m = o.mansa
    above = p["mansa_baseline"] - m.mean
    rest = p["mansa_if_control"] - m.followup - m.slope * above - p["practice_effect"]
    return above / m.sd, rest / (m.residual_sd * math.sqrt(1 - m.residual_icc))


def instrument(o, batch, rng):
    """z0 = L m0 + b_j + e_ij and z1 = r z0 + sqrt(1 - r^2) w, recorded; if offered with the effect added before."""
    index, name, load = batch.index, o.instrument, o.loading
    first, second, r = o._margins()
    b, e = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
    u, new = rng.standard_normal(index.practices), rng.standard_normal(index.participants)
    between = o.icc_baseline - load**2 * o.mansa.icc
    within = 1 - load**2 - between
    found = {f"{name}_{when}": [] for when in ("baseline", "if_control", "if_intervention", "followup")}
    for i, p in enumerate(rows(batch)):
        m0, v = of_mansa(o, p) if load else (0.0, 0.0)
        z0 = load * m0 + math.sqrt(between) * b[p["j"]] + math.sqrt(within) * e[i]
        w = math.sqrt(o.icc) * u[p["j"]] + math.sqrt(1 - o.icc) * (load * v + math.sqrt(1 - load**2) * new[i])
        later = score(second, r * z0 + math.sqrt(1 - r**2) * w)
        both = record(second, later), record(second, later + o.effect)
        found[f"{name}_baseline"].append(record(first, score(first, z0)))
        found[f"{name}_if_control"].append(both[0])
        found[f"{name}_if_intervention"].append(both[1])
        found[f"{name}_followup"].append(both[int(p["arm"])])
    return found


def time_use(o, batch, rng):
    """And implausible hours at baseline in some people, to a tenth of an hour."""
    found = instrument(o, batch, rng)
    people = batch.index.participants
    chance, where = rng.random(people), rng.random(people)
    found["tus_outlier"] = [int(u < o.outlier_probability) for u in chance]
    for i in range(people):
        if found["tus_outlier"][i]:
            found["tus_baseline"][i] = round(o.outlier_lowest + (o.outlier_highest - o.outlier_lowest) * where[i], 1)
    if not o.keep_outliers:
        found["tus_plausible"] = [1 - flagged for flagged in found["tus_outlier"]]
    return found


METRIC = """7 7.00, 8 9.51, 9 11.25, 10 12.40, 11 13.33, 12 14.08, 13 14.75, 14 15.32, 15 15.84, 16 16.36, 17 16.88,
18 17.43, 19 17.98, 20 18.59, 21 19.25, 22 19.98, 23 20.73, 24 21.54, 25 22.35, 26 23.21, 27 24.11, 28 25.03, 29 26.02,
30 27.03, 31 28.13, 32 29.31, 33 30.70, 34 32.55, 35 35.00"""
SHORT = {int(raw): float(score) for raw, score in (pair.split() for pair in METRIC.split(","))}
"""Raw sum of seven items -> metric score (Stewart-Brown et al. 2009)."""


def seven(o, total, d):
    """Half the total plus d, rounded (halves up); both halves of the scale lie between 7 and 35."""
    raw = math.floor(total / 2 + o.short_shift + o.short_sd * d + 0.5)
    while raw < 7 or total - raw > 35:
        raw += 1
    while raw > 35 or total - raw < 7:
        raw -= 1
    return SHORT[int(raw)]


def wellbeing(o, batch, rng):
    found = instrument(o, batch, rng)
    people, r = batch.index.participants, o.short_stability
    d0, new = rng.standard_normal(people), rng.standard_normal(people)
    d1 = [r * d0[i] + math.sqrt(1 - r**2) * new[i] for i in range(people)]
    for when, d in (("baseline", d0), ("if_control", d1), ("if_intervention", d1)):
        found[f"swemwbs_{when}"] = [seven(o, x, d[i]) for i, x in enumerate(found[f"wemwbs_{when}"])]
    arms = (found["swemwbs_if_control"], found["swemwbs_if_intervention"])
    found["swemwbs_followup"] = [arms[int(p["arm"])][i] for i, p in enumerate(rows(batch))]
    return found


OPTIONS = {
    "qpr15 with loading": (instrument, "qpr15", {"effect": 3.2, "icc": 0.2}),
    "qpr15 alone": (instrument, "qpr15", {"loading": 0.0, "grid": 0.0, "effect": -4.0}),
    "brief_inspire": (instrument, "brief_inspire", {"loading": -0.5, "icc_baseline": 0.3, "effect": 7.0}),
    "icecap_a": (instrument, "icecap_a", {"effect": 0.05, "mansa": {"sd": 1.2, "slope": 0.4, "residual_icc": 0.3}}),
    "eq5d5l": (instrument, "eq5d5l", {"effect": 0.1}),
    "tus": (time_use, "tus", {"outlier_probability": 0.2, "effect": 5.0}),
    "tus, outliers kept": (time_use, "tus", {"outlier_probability": 0.1, "keep_outliers": True, "grid": 0.0}),
    "wemwbs": (wellbeing, "wemwbs", {"effect": 2.4}),
    "wemwbs, halves far apart": (wellbeing, "wemwbs", {"short_sd": 9.0, "short_shift": -2.0, "short_stability": -0.6}),
}  # fmt: skip


@pytest.mark.parametrize(("twin", "name", "options"), OPTIONS.values(), ids=OPTIONS)
def test_one_person_after_the_other(twin, name, options) -> None:
    found = compare(twin, f"outcomes.{name}", {f"outcomes.{name}": options})
    assert len(set(found[f"{name}_baseline"])) > 10


def values_and_edges(m):
    """Every recorded score and the normal scores between which it is recorded."""
    if m.shape == "normal":
        normal_score = lambda x: (x - m.mean) / m.sd  # noqa: E731
    else:
        above = m.mean - m.lowest
        shape, scale = (above / m.sd) ** 2, m.sd**2 / above
        normal_score = lambda x: float(stats.norm.ppf(stats.gamma.cdf((x - m.lowest) / scale, shape)))  # noqa: E731
    steps = range(math.floor(m.lowest / m.grid), math.ceil(m.highest / m.grid) + 1)
    values = [record(m, k * m.grid) for k in steps]
    inner = [normal_score((k + 0.5) * m.grid) for k in steps[:-1]]
    return values, [-math.inf, *inner, math.inf]


def exact_moments(m):
    values, edges = values_and_edges(m)
    p = [phi(b) - phi(a) for a, b in pairwise(edges)]
    mean = math.fsum(x * q for x, q in zip(values, p, strict=True))
    return mean, math.sqrt(math.fsum((x - mean) ** 2 * q for x, q in zip(values, p, strict=True)))


def exact_correlation(first, second, r):
    """E f(Z) g(Z'): over every recorded f, its value times the integral of E(g(Z') given z) between its edges.

    Two Gauss-Legendre nodes in pieces of at most 0.05: exact to 1e-7, as f is constant there and the rest smooth.
    """
    (f_mean, f_sd), (g_mean, g_sd) = exact_moments(first), exact_moments(second)
    values, edges = (np.array(x) for x in values_and_edges(second))
    total = 0.0
    for x, (a, b) in zip(values_and_edges(first)[0], pairwise(values_and_edges(first)[1]), strict=True):
        a, b = max(a, -8.0), min(b, 8.0)
        pieces = max(1, math.ceil((b - a) / 0.05))
        half = (b - a) / pieces / 2
        for k in range(2 * pieces if b > a else 0):
            z = a + half * (2 * (k // 2) + 1 + (1 if k % 2 else -1) / math.sqrt(3))
            given = float(values @ np.diff(stats.norm.cdf((edges - r * z) / math.sqrt(1 - r**2)))) - g_mean
            total += half * math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) * (x - f_mean) * given
    return total / (f_sd * g_sd)


@pytest.mark.parametrize("name", ["qpr15", "brief_inspire", "wemwbs", "eq5d5l", "tus"])
def test_recorded_scores_have_the_moments_asked_for(name) -> None:
    """Means and SDs to 3e-4 of an SD: theirs are solved to 2e-4, by sums over steps of 0.001 in which a score jumps.

    N jumps of 5/N SDs, each placed wrong by up to half a step, leave 0.0003 x 0.25 x 5/sqrt(N) = 8e-5 for N = 20. The
    correlation comes from the same sums: 1e-4.
    """
    mechanism, _ = before("practices")
    o = mechanism[f"outcomes.{name}"]
    first, second, r = o._margins()
    asked = ((first, o.baseline_mean, o.baseline_sd), (second, o.baseline_mean + o.change, o.followup_sd))
    for m, mean, sd in asked:
        found = exact_moments(m)
        assert abs(found[0] - mean) < 3e-4 * sd
        assert abs(found[1] - sd) < 3e-4 * sd
    assert abs(exact_correlation(first, second, r) - o.rho) < 1e-4
