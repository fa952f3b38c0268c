"""What the slow twins of the generator's stages share: trials to compare in, exact agreement, tables read by hand.

A twin (tests/test_slow_STAGE.py) goes through practices and people one after the other with scalar arithmetic, from the
formulas of docs/generator.md. It is given a generator of the same seed and draws in the order in which the stage does,
so it must agree to rounding error, not on average.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from simulated import Options, drawn_by, mechanism, published

from simtrial.batch import TrialBatch
from simtrial.generate import STAGES, Mechanism, Step, simulate

Row = dict[str, Any]
Twin = Callable[[Any, TrialBatch, np.random.Generator], Mapping[str, Sequence[Any]]]


def before(stage: str, changes: Mapping[str, Options] | None = None, trials: int = 2) -> tuple[Mechanism, TrialBatch]:
    """Stages of the scenario partners, some options changed or stages added, and trials drawn up to one of them."""
    changes = changes or {}
    tables = {s: {**published().get(s, {}), **changes.get(s, {})} for s in (*published(), *changes)}
    stages = mechanism(tables)
    earlier = STAGES[: STAGES.index(stage)]
    return stages, simulate({s: stages[s] for s in earlier if s in stages}, trials, 11, "", 0)


def assert_same(found: Mapping[str, Any], expected: Mapping[str, Sequence[Any]]) -> None:
    """The same columns, and every value the same to 1e-12 (relative above 1); blanks where blanks are."""
    assert set(found) == set(expected)
    for name, values in expected.items():
        column = found[name]
        assert len(column) == len(values), name
        for row, (x, y) in enumerate(zip(column, values, strict=True)):
            blank = math.isnan(x) and math.isnan(y)
            assert blank or abs(x - y) <= 1e-12 * max(1.0, abs(y)), f"{name} of row {row}: {x} is not {y}"


def compare(twin: Twin, stage: str, changes: Mapping[str, Options] | None = None, trials: int = 2) -> Row:
    """Hold what a stage draws against its twin, and return the twin's columns."""
    stages, batch = before(stage, changes, trials)
    step: Step = stages[stage].settled(stages)
    expected = twin(step, batch, np.random.default_rng(8))
    assert_same(drawn_by(step, batch, seed=8), expected)
    return dict(expected)


def rows(batch: TrialBatch, level: str = "participant") -> list[Row]:
    """One dictionary per person (or practice): everything known of them, categories by name, ``j`` and ``t``: rows of
    their practice and trial."""
    index = batch.index
    j = index.participant_practice if level == "participant" else range(index.practices)
    found = [{"j": int(k), "t": int(index.practice_trial[k])} for k in j]
    at = {"trial": "t", "practice": "j"}
    for name, column in batch.columns.items():
        if column.level == "participant" and level == "practice":
            continue
        for i, row in enumerate(found):
            value = column.values[row[at[column.level]] if column.level in at else i]
            row[name] = column.categories[int(value)] if column.categories else float(value)
    return found


def members(batch: TrialBatch) -> list[list[int]]:
    """Rows of the people of every practice."""
    found: list[list[int]] = [[] for _ in range(batch.index.practices)]
    for i, j in enumerate(batch.index.participant_practice):
        found[j].append(i)
    return found


def phi(z: float) -> float:
    return float(stats.norm.cdf(z))


def tabulated(quantile: Callable[[float], float], z: float) -> float:
    """Between two of the 4,001 normal scores from -8 to 8 (0.004 apart) a quantile is read off a straight line."""
    z = min(max(z, -8.0), 8.0)
    k = min(int((z + 8.0) / 0.004), 3999)
    left, right = -8.0 + 0.004 * k, -8.0 + 0.004 * (k + 1)
    below, above = quantile(round(left, 3)), quantile(round(right, 3))
    return below + (above - below) * (z - left) / (right - left)


@cache
def gamma_quantile(shape: float, z: float) -> float:
    """Of a gamma of scale 1, at a normal score."""
    return float(stats.gamma.isf(stats.norm.sf(z), shape) if z > 0 else stats.gamma.ppf(stats.norm.cdf(z), shape))


@cache
def t_quantile(df: float, z: float) -> float:
    """Of Student's t, at a normal score."""
    return -float(stats.t.isf(phi(z), df)) if z <= 0 else float(stats.t.isf(phi(-z), df))


def shaped(z: float, shape: str, df: float, skewness: float) -> float:
    """A draw of mean 0 and variance 1 in the place of a standard normal z."""
    if shape == "t":
        return math.sqrt((df - 2) / df) * tabulated(lambda s: t_quantile(df, s), z)
    if shape == "skewed":
        a, side = 4 / skewness**2, math.copysign(1, skewness)
        return side * (tabulated(lambda s: gamma_quantile(a, s), side * z) - a) / math.sqrt(a)
    return z


def negative_binomial(mu: float, k: float) -> list[float]:
    """P(0), P(1), ... up to a tail below 1e-17: P(n+1) = P(n) (n + k)/(n + 1) mu/(mu + k)."""
    probability, found, total = (1 + mu / k) ** -k if k < math.inf else math.exp(-mu), [], 0.0
    while len(found) < mu or probability > 1e-17:
        found.append(probability)
        total += probability
        n = len(found) - 1
        probability *= (mu if k == math.inf else (n + k) * mu / (mu + k)) / (n + 1)
    return found


def first_reached(probabilities: Sequence[float], uniform: float, lowest: int = 0) -> int:
    """First value, from ``lowest`` on, whose cumulative probability (made to end at 1) reaches a uniform."""
    total, below = math.fsum(probabilities), 0.0
    for value, probability in enumerate(probabilities, lowest):
        below += probability / total
        if below >= uniform:
            return value
    return lowest + len(probabilities) - 1


def recorded(score: float, items: int, lowest: float, highest: float) -> float:
    """A score as a mean of so many ratings, on its scale."""
    return min(max(round(score * items) / items if items else score, lowest), highest)


def mean_rating(location: float, spread: float, lowest: float, highest: float) -> tuple[float, float]:
    """Mean and variance of clip(round(location + spread z)): the sum over the possible ratings."""
    mean = square = 0.0
    below = 0.0
    for c in range(int(lowest), int(highest) + 1):
        upto = 1.0 if c == highest else 0.5 * math.erfc((location - c - 0.5) / spread / math.sqrt(2))
        mean += c * (upto - below)
        square += c * c * (upto - below)
        below = upto
    return mean, square - mean**2


def location(score: float, spread: float, lowest: float, highest: float) -> float:
    """Where the mean of rounded and clipped ratings is the score; at the ends of the scale far outside it."""
    ends = lowest - 8 * spread, highest + 8 * spread
    score = min(max(score, lowest), highest)
    if not mean_rating(ends[0], spread, lowest, highest)[0] < score < mean_rating(ends[1], spread, lowest, highest)[0]:
        return ends[0] if score < (lowest + highest) / 2 else ends[1]
    return float(brentq(lambda at: mean_rating(at, spread, lowest, highest)[0] - score, *ends, xtol=1e-12))


@cache
def spread_of_ratings(deviation_sd: float, lowest: float, highest: float, mean: float, sd: float) -> float:
    """Spread at which ratings have an SD of ``deviation_sd`` about scores that are N(mean, sd^2) on their scale."""

    def variance(spread: float) -> float:
        total = 0.0
        for node in range(-240, 241):  # steps of a fortieth of an SD
            at = location(mean + sd * node / 40, spread, lowest, highest)
            total += stats.norm.pdf(node / 40) / 40 * mean_rating(at, spread, lowest, highest)[1]
        return total

    return float(brentq(lambda s: variance(s) - deviation_sd**2, 0.5, 20.0, xtol=1e-4))
