"""Allocation by plain loops, one trial and one practice after the other, from the same draws."""

import math

import numpy as np
import pytest
from plain_loops import compare, rows

UNEQUAL = {"number": 39, "until_participants": 100}
"""Practices open until 100 people are recruited, so that trials differ in how many practices they have."""


def trials(batch):
    """Practices of every trial, as dictionaries with their row numbers."""
    found = [[] for _ in range(batch.index.trials)]
    for j, practice in enumerate(rows(batch, "practice")):
        found[practice["t"]].append(practice | {"row": j})
    return found


def treated_share(o):
    return o.ratio[1] / (o.ratio[0] + o.ratio[1])


def simple(o, batch, rng):
    coins = rng.random(batch.index.practices)
    return {"arm": [int(coin < treated_share(o)) for coin in coins]}


def number_treated(o, practices, last):
    """The ratio's share of the practices; a coin decides a fraction of one."""
    exact = practices * o.ratio[1] / (o.ratio[0] + o.ratio[1])
    return o.intervention_practices or math.floor(exact) + int(last < exact - math.floor(exact))


def smallest(coins, number):
    """1 for those with the smallest coins."""
    chosen = sorted(range(len(coins)), key=lambda k: coins[k])[:number]
    return [int(k in chosen) for k in range(len(coins))]


def complete(o, batch, rng):
    coins, last = rng.random(batch.index.practices), rng.random(batch.index.trials)
    arm = []
    for t, practices in enumerate(trials(batch)):
        arm += smallest([coins[p["row"]] for p in practices], number_treated(o, len(practices), last[t]))
    return {"arm": arm}


def arriving(o, practices, order):
    return sorted(practices, key=lambda p: order[p["row"]]) if o.order == "random" else practices


def blocks(o, batch, rng):
    """In every stratum of a trial: a practice that finds no places left opens a block of a size drawn for it."""
    number = batch.index.practices
    coins, which = rng.random(number), rng.random(number)
    order = rng.random(number) if o.order == "random" else None
    arm = [0] * number
    for practices in trials(batch):
        left = {}  # stratum -> places left in control and in intervention
        for p in arriving(o, practices, order):
            stratum = tuple(p[name] for name in o.strata or o.factors)
            if not any(left.get(stratum, (0, 0))):
                size = o.block_sizes[int(which[p["row"]] * len(o.block_sizes))]
                left[stratum] = [size * share // sum(o.ratio) for share in o.ratio]
            places = left[stratum]
            arm[p["row"]] = int(coins[p["row"]] < places[1] / sum(places))
            places[arm[p["row"]]] -= 1
    return {"arm": arm}


def imbalance(o, name, level, allocated, arm):
    """Imbalance in the arriving practice's level of a factor were it to enter ``arm``."""
    at = [a for p, a in allocated if p[name] == level]
    n = [at.count(0), at.count(1)]
    if o.imbalance == "marginal-sum":
        return n[arm] / o.ratio[arm]
    n[arm] += 1
    difference = n[1] / o.ratio[1] - n[0] / o.ratio[0]
    return difference**2 if o.imbalance == "variance" else abs(difference)


def chance(o, practice, allocated):
    """Probability of intervention: Pocock and Simon, with unequal ratios the biased coin of Han et al."""
    total = [0.0, 0.0]
    for arm in (0, 1):
        for name in o.factors:
            total[arm] += o.weights.get(name, 1.0) * imbalance(o, name, practice[name], allocated, arm)
    if math.isclose(*total, rel_tol=0, abs_tol=1e-9):
        return treated_share(o)
    best = int(total[1] < total[0])
    few, many = sorted(o.ratio)
    # the arm with fewer planned practices (equal: either) has p, the other 1 - (1 - p) few / many
    p = o.best_arm_probability if o.ratio[best] == few else 1 - (1 - o.best_arm_probability) * few / many
    return p if best else 1 - p


def minimisation(o, batch, rng):
    coins = rng.random(batch.index.practices)
    order = rng.random(batch.index.practices) if o.order == "random" else None
    arm = [0] * batch.index.practices
    for practices in trials(batch):
        allocated = []
        for p in arriving(o, practices, order):
            arm[p["row"]] = int(coins[p["row"]] < chance(o, p, allocated))
            allocated.append((p, arm[p["row"]]))
    return {"arm": arm}


def distance(values, arms):
    """Squared difference of arm means in SDs (divisor n); None where the values do not vary, 0 with an empty arm."""
    n, treated = len(values), sum(arms)
    mean = math.fsum(values) / n
    variance = math.fsum((x - mean) ** 2 for x in values) / n
    if variance < 1e-20:
        return None
    if treated in (0, n):
        return 0.0
    sums = [math.fsum(x for x, a in zip(values, arms, strict=True) if a == arm) for arm in (0, 1)]
    return (sums[1] / treated - sums[0] / (n - treated)) ** 2 / variance


def criterion(o, practices, arms):
    """B = sum of w (difference of means)^2/s^2; a factor is the mean over those of its levels that vary."""
    total = 0.0
    for name in o.factors:
        levels = {p[name] for p in practices}
        each = [distance([float(p[name] == level) for p in practices], arms) for level in levels]
        each = [d for d in each if d is not None]
        total += o.weights.get(name, 1.0) * sum(each) / len(each) if each else 0.0
    for name in o.numeric:
        total += o.weights.get(name, 1.0) * (distance([p[name] for p in practices], arms) or 0.0)
    return total


def constrained(o, batch, rng):
    rng.random(batch.index.practices)  # coins that other methods use
    by_trial = trials(batch)
    schemes = [[] for _ in by_trial]
    for _ in range(o.candidates):
        coins, last = rng.random(batch.index.practices), rng.random(len(by_trial))
        for t, practices in enumerate(by_trial):
            number = number_treated(o, len(practices), last[t])
            schemes[t].append(smallest([coins[p["row"]] for p in practices], number))
    taken, arm = rng.random(len(by_trial)), []
    few = math.ceil(round(o.share * o.candidates, 9))
    for t, practices in enumerate(by_trial):
        # rounded, so that schemes equally good stay in the order drawn
        best = sorted(schemes[t], key=lambda arms: round(criterion(o, practices, arms), 10))[:few]
        arm += best[int(taken[t] * few)]
    return {"arm": arm}


BOTH = ["region", "practice_size"]
THREE = [*BOTH, "deprivation"]
OPTIONS = {
    "simple": (simple, {"method": "simple"}),
    "simple, 2:1": (simple, {"method": "simple", "ratio": [2, 1]}),
    "complete": (complete, {"method": "complete"}),
    "complete, 2:3": (complete, {"method": "complete", "ratio": [2, 3]}),
    "complete, numbers given": (complete, {"method": "complete", "intervention_practices": 7}),
    "blocks": (blocks, {"method": "blocks", "factors": BOTH}),
    "blocks, one sequence": (blocks, {"method": "blocks", "factors": [], "block_sizes": [2, 6, 8]}),
    "blocks, 1:2": (blocks, {"method": "blocks", "strata": ["deprivation"], "ratio": [1, 2], "block_sizes": [3, 6],
                             "order": "random"}),
    **{
        f"minimisation, {kind}, {ratio}": (minimisation, {"imbalance": kind, "ratio": ratio, "factors": THREE})
        for kind in ("range", "variance", "marginal-sum") for ratio in ([1, 1], [3, 1], [2, 3])
    },
    "minimisation, weighted": (minimisation, {"factors": THREE, "weights": {"region": 3.5, "deprivation": 0.1},
                                              "order": "random", "best_arm_probability": 0.9}),
    "minimisation, always the best": (minimisation, {"best_arm_probability": 1.0, "imbalance": "variance"}),
    "constrained": (constrained, {"method": "constrained", "factors": BOTH, "numeric": ["recruited"],
                                  "candidates": 40}),
    "constrained, weighted, 2:1": (constrained, {
        "method": "constrained", "factors": THREE, "numeric": ["register_size", "recruited"], "ratio": [2, 1],
        "weights": {"region": 2.0, "register_size": 0.3}, "candidates": 31, "share": 0.2}),
    "constrained, numbers given": (constrained, {"method": "constrained", "factors": [], "numeric": ["register_size"],
                                                 "candidates": 25, "share": 1.0, "intervention_practices": 5}),
}  # fmt: skip


@pytest.mark.parametrize("practices", [{}, UNEQUAL], ids=["equal", "unequal"])
@pytest.mark.parametrize(("twin", "options"), OPTIONS.values(), ids=OPTIONS)
def test_one_practice_after_the_other(twin, options, practices) -> None:
    options = {"method": "minimisation", **options}
    found = compare(twin, "allocation", {"allocation": options, "practices": practices}, trials=8)
    assert 0 < np.mean(found["arm"]) < 1
