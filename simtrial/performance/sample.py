"""Input and output of measures: results of one method in one cell, and a value with its error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import reduce
from math import frexp, ldexp, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats
from simtrial.kernels import interval_sets
from simtrial.performance.tiled import by_tile, has_missing, ordered, tiles_of, where

Form = Literal["robust", "jackknife", "normal"]
NOTHING = float("nan")
Z = 1.959963984540054  # upper 2.5% point of the normal distribution

_holds, _width = by_tile(interval_sets.holds), by_tile(interval_sets.width)


@dataclass(frozen=True)
class Sample:
    """Results of one method against one estimand in one cell; arrays (replicates,), NaN where something is missing.

    Of more replicates than are held in memory, the arrays are `simtrial.performance.tiled.Tiled`.
    ``truth`` with its own Monte Carlo error ``truth_mcse``; ``alpha`` the nominal type I error. ``own`` (replicates,)
    takes the place of ``truth`` where every trial has a true value of its own, known without error. ``apart`` and
    ``empty`` (replicates,) say which confidence sets are two rays, or hold nothing (see
    `simtrial.kernels.interval_sets`); left out: none is, every set is the interval between its ends. ``failed`` is of
    all replicates, also where the others are of those that all methods have in common.
    """

    estimate: Floats
    std_error: Floats
    ci_lower: Floats
    ci_upper: Floats
    p_value: Floats
    failed: Bools
    truth: float
    truth_mcse: float = 0.0
    alpha: float = 0.05
    own: Floats | None = None
    apart: Bools | None = None
    empty: Bools | None = None

    def only(self, chosen: NDArray[np.intp]) -> Sample:
        """Return the results of some replicates, by their places."""
        names = ["estimate", "std_error", "ci_lower", "ci_upper", "p_value", "own", "apart", "empty"]
        names += ["failed"] if len(self.failed) == len(self.estimate) else []
        arrays = {name: getattr(self, name) for name in names}
        return replace(self, **{name: a[chosen] for name, a in arrays.items() if a is not None})

    @property
    def theta(self) -> Floats | float:
        """True value of every trial (replicates,), or the one that all of them share."""
        return self.truth if self.own is None else self.own

    def beside_truth(self, *arrays: Floats) -> tuple[tuple[Floats, ...], Floats | float]:
        """Keep the replicates in which no array is missing, nor the trial's own true value; returns both."""
        if self.own is None:
            return present(*arrays), self.truth
        *kept, theta = present(*arrays, self.own)
        return tuple(kept), theta

    def errors(self) -> tuple[Floats, float]:
        """Return e - theta of the replicates that have both, in a unit that lets them be squared, and that unit."""
        d, _, u = self.errors_beside_truth()
        return d, u

    def errors_beside_truth(self) -> tuple[Floats, Floats | float, float]:
        """Return e - theta as `errors` does, theta of the same replicates as it is, and the unit."""
        (e,), theta = self.beside_truth(self.estimate)
        u = unit(e, theta)
        return e / u - theta / u, theta, u

    def holds(self, value: Floats | float) -> Floats:
        """1 where the confidence set holds a value, 0 where not, NaN where there is no set or no value."""
        return _holds(self.ci_lower, self.ci_upper, self._apart, self._empty, value)

    @property
    def width(self) -> Floats:
        """Width of the confidence sets (replicates,): infinite for any that is unbounded, 0 for an empty one."""
        return self.width_in(1.0)

    def width_in(self, unit: float) -> Floats:
        """Width of the confidence sets (replicates,) in a unit, in which that of finite ends is finite."""
        return _width(self.ci_lower / unit, self.ci_upper / unit, self._apart, self._empty)

    @property
    def _apart(self) -> Bools | bool:
        return False if self.apart is None else self.apart

    @property
    def _empty(self) -> Bools | bool:
        return False if self.empty is None else self.empty

    @property
    def rejected(self) -> Floats:
        """1 where the null hypothesis is rejected, 0 where not, NaN without a p-value or set.

        By p-value, or by the confidence set leaving out 0 where there is no p-value.
        """
        by_p = (self.p_value < self.alpha).astype(np.float64)
        return where(np.isnan(self.p_value), 1.0 - self.holds(0.0), by_p)

    @property
    def covered(self) -> Floats:
        """1 where the confidence set holds the true value, 0 where not, NaN without a set or a true value."""
        return self.holds(self.theta)

    def missed(self, above: bool) -> Floats:
        """1 where the set misses the true value from ``above``, or else from below; 0, or NaN as in `covered`.

        An interval or ray misses by the side it lies on. Two rays lie on both sides and an empty set on none: they miss
        by the side of the estimate.
        """
        by_estimate = np.logical_or(self._apart, self._empty)
        low, high = (where(by_estimate, self.estimate, end) for end in (self.ci_lower, self.ci_upper))
        beyond = (low > self.theta) if above else (high < self.theta)
        return where(np.isnan(self.covered), np.nan, beyond & (self.covered == 0.0))


@dataclass(frozen=True)
class Value:
    """A measure: value, Monte Carlo standard error (NaN where there is none), and replicates used.

    ``share``: the value is a share of the n replicates; ``counted``: their number.
    """

    value: float
    mcse: float
    n: int
    share: bool = False
    counted: bool = False

    @property
    def interval(self) -> tuple[float, float]:
        """95% Monte Carlo interval: value and 1.96 errors either way, or Wilson's for shares and counts.

        Wilson's stays honest at 0 and 1, where the standard error is 0.
        """
        if self.n == 0 or np.isnan(self.value) or not (self.share or self.counted):
            return self.value - Z * self.mcse, self.value + Z * self.mcse
        whole = float(self.n) if self.counted else 1.0
        low, high = wilson(self.value / whole, self.n)
        return whole * low, whole * high

    def scaled(self, factor: float) -> Value:
        """Multiply the measure and its error."""
        return Value(self.value * factor, self.mcse * abs(factor), self.n)

    def sound(self, unbounded: bool = False) -> Value:
        """Turn overflow into a missing value; an infinite value stays where it is ``unbounded``."""
        value = NOTHING if np.isinf(self.value) and not unbounded else float(self.value)
        return replace(self, value=value, mcse=float(self.mcse) if np.isfinite(self.mcse) else NOTHING)


Share = Value
"""A share of replicates: the return type by which a measure says that `check` and intervals are to take it as one."""

Width = Value
"""A value that may be infinite, as the width of an unbounded interval is."""


def wilson(p: float, n: int) -> tuple[float, float]:
    """95% interval of a share p of n (Wilson 1927)."""
    z2 = Z * Z / n
    middle = (p + z2 / 2) / (1 + z2)
    half = Z / (1 + z2) * sqrt(p * (1 - p) / n + z2 / (4 * n))
    return 0.0 if p == 0 else max(middle - half, 0.0), 1.0 if p == 1 else min(middle + half, 1.0)


def undefined(n: int = 0) -> Value:
    """Return a measure that cannot be computed."""
    return Value(NOTHING, NOTHING, n)


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
