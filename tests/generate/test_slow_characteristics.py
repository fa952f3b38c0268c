"""Characteristics by plain loops, person by person, from the same draws: nothing of the stage's own arithmetic."""

import math

import numpy as np
from scipy import stats
from simulated import drawn_by, partners, published

from simtrial.generate import simulate

OPTIONS = published()["characteristics"]
CORRELATIONS = [*OPTIONS["correlations"], ["education", "smoking", -0.3], ["smoking", "alcohol", 0.5]]
ICCS = {"smoking": 0.4, "education": 0.0}
FACTORS = ("ethnicity", "relationship", "education", "health_check")
QUANTITIES = {
    "smoking_times_per_day": "smoking",
    "alcohol_times_per_week": "alcohol",
    "childcare_hours_month": "childcare",
    "other_caring_hours_week": "other_caring",
    "household_hours_week": "household_tasks",
    "age_at_diagnosis": None,
}
ALONE = ("smoking", "alcohol", "carer_formal", "carer_informal", "childcare", "other_caring", "household_tasks")
SMOKED = ("cigarettes", "pipe", "e_cigarette")
KNOWN = ("gender", "diagnosis", "ethnicity", "relationship", "health_check", "household_tasks")
SHARES = {
    **{f"condition_{n}": p for n, p in OPTIONS["conditions"].items()},
    **{n: OPTIONS[n] for n in (*ALONE, *SMOKED)},
    **{f"medication_{n}": p for n, p in OPTIONS["medication"].items()},
}
NAMES = [*FACTORS, *QUANTITIES, *SHARES]
ICC = [ICCS.get(name, 0.05) for name in NAMES]


def cholesky():
    """L L' = R of either part, by Cholesky and Banachiewicz."""
    size = len(NAMES)
    matrix = [[float(k == m) for m in range(size)] for k in range(size)]
    for first, second, r in CORRELATIONS:
        k, m = NAMES.index(first), NAMES.index(second)
        both = math.sqrt(ICC[k] * ICC[m]) + math.sqrt((1 - ICC[k]) * (1 - ICC[m]))
        matrix[k][m] = matrix[m][k] = r / both
    lower = [[0.0] * size for _ in range(size)]
    for k in range(size):
        for m in range(k + 1):
            rest = matrix[k][m] - sum(lower[k][j] * lower[m][j] for j in range(m))
            lower[k][m] = math.sqrt(rest) if k == m else rest / lower[m][m]
    return lower


def category(weights, z):
    """Number of categories whose upper end lies below Phi(z)."""
    total, below, code = sum(weights), 0.0, 0
    for weight in weights[:-1]:
        below += weight / total
        code += stats.norm.cdf(z) >= below
    return code


def hours(options, z):
    end = options["q1"] if z < 0 else options["q3"]
    sigma = abs(math.log(end / options["median"])) / stats.norm.ppf(0.75)
    return min(round(options["median"] * math.exp(sigma * z)), options["highest"])


def occasions(options, cumulative, z, highest):
    """First value whose probability, given at most ``highest``, reaches beyond Phi(z)."""
    value = options["lowest"]
    most = cumulative[highest - options["lowest"]]
    while value < highest and cumulative[value - options["lowest"]] / most <= stats.norm.cdf(z):
        value += 1
    return value


def test_one_person_after_the_other() -> None:
    options = {"correlations": CORRELATIONS, "iccs": ICCS, "known": {n: 0.7 for n in KNOWN}}
    mechanism = partners({"characteristics": options})
    step = mechanism["characteristics"]
    batch = simulate({s: mechanism[s] for s in ("practices", "participants")}, 3, 5, "", 0)
    found = drawn_by(step, batch, seed=8)
    index, age = batch.index, batch.at("age")
    rng = np.random.default_rng(8)
    shared = rng.standard_normal((len(NAMES), index.practices))
    own = rng.standard_normal((len(NAMES), index.participants))
    known = {name: rng.random(index.participants) for name in KNOWN}
    answered = {name: rng.random(index.participants) for name in QUANTITIES}
    lower = cholesky()
    size = range(len(NAMES))
    for i in range(index.participants):
        j = index.participant_practice[i]
        z = {}
        for k, name in enumerate(NAMES):
            between = sum(lower[k][m] * shared[m, j] for m in size)
            within = sum(lower[k][m] * own[m, i] for m in size)
            z[name] = math.sqrt(ICC[k]) * between + math.sqrt(1 - ICC[k]) * within
        expected = {name: category(list(OPTIONS[name].values()), z[name]) for name in FACTORS}
        expected |= {name: float(1 - stats.norm.cdf(z[name]) < share) for name, share in SHARES.items()}
        for name in SMOKED:
            expected[name] = expected[name] if expected["smoking"] else math.nan
        for name, of in QUANTITIES.items():
            asked = OPTIONS[name]
            if "q1" in asked:
                value = hours(asked, z[name])
            else:
                highest = min(asked["highest"], math.floor(age[i])) if of is None else asked["highest"]
                value = occasions(asked, getattr(step, name).cumulative(), z[name], highest)
            there = answered[name][i] < asked["answered"] and (of is None or expected[of])
            expected[name] = value if there else math.nan
        expected |= {f"{name}_known": float(known[name][i] < 0.7) for name in KNOWN}
        assert set(expected) == set(found)
        for name, value in expected.items():
            assert np.array_equal(found[name][i], value, equal_nan=True), f"{name} of person {i}"


def test_cut_normals_have_their_moments_given_everybody_s_own_limit() -> None:
    """Sums over the grid and over ages, the ages by scipy's truncated normal."""
    steps = partners()["characteristics"]
    for name in ("smoking_times_per_day", "alcohol_times_per_week", "age_at_diagnosis"):
        asked = OPTIONS[name]
        grid = range(asked["lowest"], asked["highest"] + 1)
        cumulative = list(getattr(steps, name).cumulative())
        p = [b - a for a, b in zip([0.0, *cumulative], cumulative, strict=False)]
        limits = {asked["highest"]: 1.0}
        if name == "age_at_diagnosis":
            age = stats.truncnorm((18 - 53) / 13, np.inf, loc=53, scale=13)
            limits = {k: age.cdf(k + 0.95) - age.cdf(k - 0.05) for k in grid}
            limits[asked["highest"]] = age.sf(asked["highest"] - 0.05)
        mean = square = 0.0
        for most, share in limits.items():
            upto = range(most - asked["lowest"] + 1)
            mean += share * sum(p[i] * grid[i] for i in upto) / sum(p[i] for i in upto)
            square += share * sum(p[i] * grid[i] ** 2 for i in upto) / sum(p[i] for i in upto)
        assert math.isclose(mean, asked["mean"], rel_tol=1e-8)
        assert math.isclose(math.sqrt(square - mean**2), asked["sd"], rel_tol=1e-8)
        ratio = np.diff(np.log(p), 2)  # a normal density: the second difference of its logarithm is constant and <= 0
        assert np.allclose(ratio, ratio[0], atol=1e-9)
        assert ratio[0] <= 0
