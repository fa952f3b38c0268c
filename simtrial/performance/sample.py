"""What measures are made from, and what they are: results of one method in one cell, and a value with its error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import frexp, ldexp, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Form = Literal["robust", "jackknife", "normal"]
NOTHING = float("nan")
Z = 1.959963984540054  # upper 2.5% point of the normal distribution


@dataclass(frozen=True)
class Sample:
    """Results of one method against one estimand in one cell; arrays (replicates,), NaN where something is missing.

    ``truth`` with its own Monte Carlo error ``truth_mcse``; ``alpha`` the nominal type I error. ``own`` (replicates,)
    takes the place of ``truth`` where every trial has a true value of its own, known without error.
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

    def only(self, chosen: NDArray[np.intp]) -> Sample:
        """Return the results of some replicates, by their places."""
        numbers = (self.estimate, self.std_error, self.ci_lower, self.ci_upper, self.p_value)
        e, s, low, high, p = (a[chosen] for a in numbers)
        own = None if self.own is None else self.own[chosen]
        return Sample(e, s, low, high, p, self.failed[chosen], self.truth, self.truth_mcse, self.alpha, own)

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
        (e,), theta = self.beside_truth(self.estimate)
        u = unit(e, theta)
        return e / u - theta / u, u

    @property
    def rejected(self) -> Floats:
        """1 where the null hypothesis is rejected, 0 where not, NaN where nothing can be said.

        By p-value, or by the interval leaving out 0 where there is no p-value.
        """
        outside = (self.ci_lower > 0) | (self.ci_upper < 0)
        no_p, no_interval = np.isnan(self.p_value), np.isnan(self.ci_lower) | np.isnan(self.ci_upper)
        by_p = (self.p_value < self.alpha).astype(np.float64)
        return np.where(no_p, np.where(no_interval, np.nan, outside), by_p)

    @property
    def covered(self) -> Floats:
        """1 where the interval holds the true value, 0 where not, NaN where there is no interval or no true value."""
        unknown = np.isnan(self.ci_lower) | np.isnan(self.ci_upper) | np.isnan(self.theta)
        inside = (self.ci_lower <= self.theta) & (self.theta <= self.ci_upper)
        return np.where(unknown, np.nan, inside)


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
        """Turn what no double can hold into a missing value; an infinite value stays where it is ``unbounded``."""
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


def nothing(n: int = 0) -> Value:
    """Return a measure that cannot be computed."""
    return Value(NOTHING, NOTHING, n)


def present(*arrays: Floats) -> tuple[Floats, ...]:
    """Keep the replicates in which none of the arrays is missing."""
    seen = np.logical_and.reduce([~np.isnan(a) for a in arrays])
    return tuple(a[seen] for a in arrays)


def unit(*arrays: Floats | float) -> float:
    """Power of two near the largest finite size in the arrays (1 for zeros).

    Values over it can be squared and summed whatever their size, and as a power of two it rounds nothing.
    """
    finite = [np.abs(a, where=np.isfinite(a), out=np.zeros(np.shape(a))) for a in arrays]
    largest = max((float(np.max(a, initial=0.0)) for a in finite), default=0.0)
    return ldexp(1.0, min(max(frexp(largest)[1], -1021), 1023)) if largest > 0 else 1.0


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
        return nothing()
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
        return nothing(n)
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
        return nothing()
    p = float(seen.mean())
    return Value(p, sqrt(p * (1 - p) / n), n, share=True)


def median(x: Floats) -> Value:
    """Median, and its error: the distance of the order statistics n/2 +- 0.98 sqrt(n) over 2 x 1.96.

    Under a smooth density f the error is 1/(2 f sqrt n), which the order statistics estimate without knowing f.
    """
    n = len(x)
    if n == 0:
        return nothing()
    u = unit(x)
    ordered = np.sort(x) / u
    half = Z / 2 * sqrt(n)
    low, high = int(np.floor(n / 2 - half)), int(np.ceil(n / 2 + half))
    error = NOTHING
    if low >= 0 and high < n and np.isfinite(ordered[[low, high]]).all():
        error = float(ordered[high] - ordered[low]) / (2 * Z)
    return Value(float(np.median(ordered)), error, n).scaled(u)


def varies(x: Floats) -> bool:
    """Whether values differ by more than rounding."""
    u = unit(x)
    return len(x) > 1 and bool(np.ptp(x / u) > 1e-12 * np.abs(x / u).max())


def jackknife(left_out: Floats) -> float:
    """Jackknife standard error from the values with each replicate left out."""
    n = len(left_out)
    if not np.isfinite(left_out).all():
        return NOTHING
    return sqrt((n - 1) / n * float(((left_out - left_out.mean()) ** 2).sum()))


def without_each(x: Floats) -> tuple[Floats, Floats]:
    """Mean and variance (divisor n - 2) of a sample with each value left out in turn."""
    n = len(x)
    centre = x - x.mean()
    total = float((centre**2).sum())
    return x.mean() - centre / (n - 1), np.maximum(total - centre**2 * n / (n - 1), 0.0) / (n - 2)


def both_errors(value: Value, truth_error: float) -> Value:
    """Add the error of the true value in squares."""
    return Value(value.value, float(np.hypot(value.mcse, truth_error)), value.n)
