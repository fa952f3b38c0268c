"""Means, spreads, shares and medians of replicates, each with its Monte Carlo standard error where it is a measure.

Arrays are held whole or come tile by tile (`simtrial.performance.tiled`).
"""

from __future__ import annotations

from functools import reduce
from math import frexp, ldexp, sqrt

import numpy as np

from simtrial.arrays import Floats
from simtrial.performance.tiled import has_missing, ordered, tiles_of, where
from simtrial.performance.values import NOTHING, Share, Value, Z, undefined


def present(*arrays: Floats) -> tuple[Floats, ...]:
    """Keep the replicates in which none of the arrays is missing."""
    holed = [a for a in arrays if has_missing(a)]
    if not holed:
        return arrays
    seen = reduce(np.logical_and, [~np.isnan(a) for a in holed])
    return tuple(a[seen] for a in arrays)


def unit(*arrays: Floats | float) -> float:
    """Power of two near the largest finite size in the arrays (1 for zeros).

    Values over it can be squared and summed whatever their size, and as a power of two it rounds nothing.
    """
    largest = max((_largest(tile) for a in arrays for tile in tiles_of(a)), default=0.0)
    return ldexp(1.0, min(max(frexp(largest)[1], -1021), 1023)) if largest > 0 else 1.0


def _largest(x: Floats) -> float:
    """Largest finite size."""
    return float(np.max(np.abs(x, where=np.isfinite(x), out=np.zeros(x.shape)), initial=0.0))


def average(x: Floats) -> float:
    """Mean of values, exact where all are equal."""
    u = unit(x)
    return float(x[0]) if constant(x) else float((x / u).mean()) * u


def variance_of(x: Floats) -> float:
    """Variance (divisor n - 1) of values that can be squared (see `unit`), exactly 0 where all are equal."""
    return 0.0 if constant(x) else float(x.var(ddof=1))


def constant(x: Floats) -> bool:
    """Whether all values are one and the same."""
    return bool(len(x)) and bool((x == x[0]).all())


def mean(x: Floats) -> Value:
    """Mean and SD/sqrt(n)."""
    n = len(x)
    if n == 0:
        return undefined()
    u = unit(x)
    with np.errstate(invalid="ignore", over="ignore"):
        spread = sqrt(variance_of(x / u)) / sqrt(n) if n > 1 else NOTHING
    return Value(average(x), spread * u, n)


def over_truth(x: Floats, theta: Floats, power: int = 1) -> Value:
    """Mean of x over |mean theta|^k, true values varying by trial; none for a mean of 0.

    MCSE by the delta method: with R the measure, SD of (x_r - mean x)/|mean theta|^k - k R (theta_r - mean theta)/mean
    theta, over sqrt(n).
    """
    n = len(x)
    if n == 0 or not average(theta / unit(theta)):
        return undefined(n)
    u, w = unit(x), unit(theta)
    x, theta = x / u, theta / w
    centre = average(theta)
    value, off = average(x), x - average(x)
    for _ in range(power):  # one at a time: the square of a small centre may be no double
        value, off = value / abs(centre), off / abs(centre)
    influence = off - power * value * (theta - centre) / centre
    found = Value(value, mean(influence).mcse, n).scaled(u)
    for _ in range(power):
        found = found.scaled(1 / w)
    return found


def share(x: Floats) -> Share:
    """Share of ones and sqrt(p(1-p)/n), missing values left out."""
    (seen,) = present(x)
    n = len(seen)
    if n == 0:
        return undefined()
    p = float(seen.mean())
    return Value(p, sqrt(p * (1 - p) / n), n, share=True)


def median(x: Floats) -> Value:
    """Median, and its error: the distance of the order statistics n/2 +- 0.98 sqrt(n) over 2 x 1.96.

    Under a smooth density f the error is 1/(2 f sqrt n), which the order statistics estimate without knowing f.
    """
    n = len(x)
    if n == 0:
        return undefined()
    u = unit(x)
    half = Z / 2 * sqrt(n)
    low, high = int(np.floor(n / 2 - half)), int(np.ceil(n / 2 + half))
    there = low >= 0 and high < n
    *middle, below, above = ordered(x, [(n - 1) // 2, n // 2, *([low, high] if there else [0, 0])]) / u
    error = float(above - below) / (2 * Z) if there and np.isfinite([below, above]).all() else NOTHING
    return Value(float(np.mean(middle)), error, n).scaled(u)


def varies(x: Floats) -> bool:
    """Whether values differ by more than rounding."""
    u = unit(x)
    x = x / u
    return len(x) > 1 and bool(x.max() - x.min() > 1e-12 * np.abs(x).max())


def jackknife(left_out: Floats) -> float:
    """Jackknife standard error from the values with each replicate left out."""
    n = len(left_out)
    if not np.isfinite(left_out).all():
        return NOTHING
    return sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))


def without_each(x: Floats) -> tuple[Floats, Floats]:
    """Mean and variance (divisor n - 2) of a sample with each value left out in turn.

    Both are differences of those of all. Where a value holds more than half of the sum of squares (one can), they would
    be rounding, and are those of the others.
    """
    n = len(x)
    centre = x - x.mean()
    squares = centre**2
    total = float(squares.sum())
    mean, spread = x.mean() - centre / (n - 1), np.maximum(total - squares * n / (n - 1), 0.0) / (n - 2)
    most = squares > total / 2
    others = x[~most]
    if len(others) == n or n < 3:
        return mean, spread
    return where(most, others.mean(), mean), where(most, others.var(ddof=1), spread)


def both_errors(value: Value, truth_error: float) -> Value:
    """Add the error of the true value in squares."""
    return Value(value.value, float(np.hypot(value.mcse, truth_error)), value.n)
