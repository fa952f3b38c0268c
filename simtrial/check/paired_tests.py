"""Tests of paired differences: whether there is one, and whether it is small enough not to matter."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, inf, isfinite, log2, sqrt

import numpy as np

from simtrial.arrays import Floats

TOST = 0.05
"""Level of each of the two one-sided tests; the interval that goes with them is the 90% one."""

POWER = 1.2815515655446004
"""Normal quantile of 90% power, with which the smallest detectable shift is detected."""


@dataclass(frozen=True)
class Shift:
    """A paired difference: size, standard error, 90% interval, p-value of no difference, replicates.

    ``spread`` is the standard deviation of one replicate's contribution. NaN where there is none.
    """

    size: float
    error: float
    lower: float
    upper: float
    p: float
    n: int
    spread: float

    def inside(self, margin: float) -> bool:
        """Whether both one-sided tests hold: the whole interval lies inside the margin."""
        return self.lower > -margin and self.upper < margin

    def detectable(self, margin: float, level: float) -> float:
        """Smallest shift that is called different in 9 of 10 such comparisons at a level."""
        from scipy.special import ndtri

        if not isfinite(self.spread) or self.n < 2 or 2.0 ** (1 - self.n) > level:
            return inf
        return max(margin, (-float(ndtri(level / 2)) + POWER) * self.spread / sqrt(self.n))

    def enough(self, margin: float, level: float) -> float:
        """Replicates with which this shift, if it is the true one, is decided: inside the margin, or different."""
        from scipy.special import ndtri

        least = 1 + ceil(-log2(level))  # fewer reject nothing, whatever the differences
        if not isfinite(self.spread) or not isfinite(self.size):
            return inf
        size, z = abs(self.size), -float(ndtri(TOST if abs(self.size) <= margin else level / 2))
        gap = size if size > margin else margin - size
        if gap == 0:
            return inf
        return max(ceil((z * self.spread / gap) ** 2), least if size > margin else 2)


def unknown_shift(n: int = 0) -> Shift:
    """Return a difference that cannot be computed."""
    nan = float("nan")
    return Shift(size=nan, error=nan, lower=-inf, upper=inf, p=1.0, n=n, spread=nan)


def mean_shift(differences: Floats, centre: float | None = None) -> Shift:
    """Mean of paired differences, or of the influences of a statistic around its value ``centre``, with its t test.

    Differences that are all alike have no spread: their interval is a point, and the p-value that of the sign test,
    2^(1-n), below which no p-value falls: so a few replicates reject nothing.
    """
    from scipy.special import stdtr, stdtrit

    n = len(differences)
    if n < 2 or not np.isfinite(differences).all():
        return unknown_shift(n)
    constant = bool((differences == differences[0]).all())
    spread = 0.0 if constant else float(differences.std(ddof=1))
    size = (float(differences[0]) if constant else float(differences.mean())) if centre is None else centre
    error = spread / sqrt(n)
    half = float(stdtrit(n - 1, 1 - TOST)) * error
    p = 1.0 if size == 0 else 0.0 if error == 0 else 2 * float(stdtr(n - 1, -abs(size) / error))
    floor = 2.0 ** max(1 - n, -1000)
    p = min(max(p, floor), 1.0)
    return Shift(size=size, error=error, lower=size - half, upper=size + half, p=p, n=n, spread=spread)


def share_shift(now: Floats, before: Floats) -> Shift:
    """Difference of two paired shares of 0/1 values: McNemar's exact test and the score interval of Tango (1998)."""
    n = len(now)
    if not n:
        return unknown_shift()
    gained, lost = int(((now == 1) & (before == 0)).sum()), int(((now == 0) & (before == 1)).sum())
    size = (gained - lost) / n
    spread = sqrt(max((gained + lost) / n - size**2, 0.0))
    lower, upper = tango(gained, lost, n)
    p = mcnemar(gained, lost)
    return Shift(size=size, error=spread / sqrt(n), lower=lower, upper=upper, p=p, n=n, spread=spread)


def mcnemar(gained: int, lost: int) -> float:
    """Exact two-sided p-value of McNemar's test that discordant pairs are as likely one way as the other."""
    from scipy.special import bdtr

    pairs = gained + lost
    return min(1.0, 2 * float(bdtr(min(gained, lost), pairs, 0.5))) if pairs else 1.0


def tango(gained: int, lost: int, n: int, level: float = TOST) -> tuple[float, float]:
    """Score interval for a difference of paired shares, 1 - 2 ``level`` (Tango 1998, Stat Med 17:891, eq. 4-6)."""
    from scipy.special import ndtri

    z = -float(ndtri(level))

    def solved(sign: int) -> float:
        """End of the interval on one side, by bisection."""
        low, high = (gained - lost) / n, float(sign)
        for _ in range(60):
            middle = (low + high) / 2
            inner = sign * _score(gained, lost, n, middle) > -z
            low, high = (middle, high) if inner else (low, middle)
        return low

    return solved(-1), solved(1)


def _score(gained: int, lost: int, n: int, delta: float) -> float:
    """Tango's statistic for a true difference ``delta``; standard normal when it is."""
    a, c = 2 * n, -lost * delta * (1 - delta)
    b = -gained - lost + (2 * n - gained + lost) * delta
    other = (sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)
    variance = n * (2 * other + delta * (1 - delta))
    top = gained - lost - n * delta
    return top / sqrt(variance) if variance > 0 else 0.0 if top == 0 else inf if top > 0 else -inf


def least_discordant(level: float) -> int:
    """Discordant pairs, all one way, from which on McNemar's exact test rejects at a level."""
    return ceil(1 - log2(level))


def detectable_share(n: int, level: float) -> float:
    """Share of n pairs that, discordant all one way, make McNemar's test reject in 9 of 10 studies.

    Their number is nearly Poisson, and its root nearly normal with standard deviation 1/2.
    """
    return min((sqrt(least_discordant(level)) + POWER / 2) ** 2 / n, 1.0) if n else inf


def holm(p: Floats) -> Floats:
    """P-values adjusted by Holm (1979) for a family of tests."""
    order = np.argsort(p, kind="stable")
    steps = p[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted
