"""Recorded scores from standard normal ones: bounded, rounded, skewed, with the mean, SD and correlation asked for.

A recorded score is f(Z) = clip(round(q(Z))): Z standard normal, q linear (normal shape) or the quantile of a gamma
distribution, rounded to the grid of the scale and kept within its bounds. Rounding and clipping move mean, SD and
correlation; what is found here undoes that, once per setting and never per trial.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import isfinite, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.errors import ScenarioError
from simtrial.generate.distributions.tables import between_scores, gamma_quantiles

Shape = Literal["normal", "gamma"]

NODES = np.linspace(-8.0, 8.0, 16001)
"""Normal scores over which expectations are sums; their weights:"""
WEIGHTS = np.exp(-0.5 * NODES**2) / np.exp(-0.5 * NODES**2).sum()

TERMS = 60
"""Hermite polynomials in the expansion of a correlation."""


@dataclass(frozen=True)
class Margin:
    """Distribution of a score: mean and SD before it is recorded, bounds and grid (0: continuous) of the scale."""

    shape: Shape
    mean: float
    sd: float
    lowest: float
    highest: float
    grid: float

    def score(self, normal: Floats) -> Floats:
        """Score before recording, at standard normal scores (rows,)."""
        if self.shape == "normal":
            return self.mean + self.sd * normal
        above = self.mean - self.lowest
        _, quantiles = gamma_quantiles((above / self.sd) ** 2)
        return self.lowest + self.sd**2 / above * between_scores(normal, quantiles)

    def record(self, score: Floats) -> Floats:
        """Score as recorded (rows,): rounded to the grid, kept within the bounds."""
        return np.clip(self._rounded(score), self.lowest, self.highest)

    def beyond(self, score: Floats) -> NDArray[np.bool_]:
        """Whose score, rounded, lies outside the bounds (rows,)."""
        rounded = self._rounded(score)
        return np.asarray((rounded < self.lowest) | (rounded > self.highest))

    def _rounded(self, score: Floats) -> Floats:
        # the second rounding takes off what 613 x 0.001 is short of 0.613
        return np.round(np.round(score / self.grid) * self.grid, 9) if self.grid else score

    def moments(self) -> tuple[float, float]:
        """Mean and SD of the recorded score."""
        values = self.record(self.score(NODES))
        mean = float(WEIGHTS @ values)
        return mean, float(np.sqrt(WEIGHTS @ (values - mean) ** 2))


@dataclass(frozen=True)
class WithZeros:
    """Zeros below a positive part, both of one standard normal score.

    f(Z) = 0 where Phi(Z) < ``share``. Above it f(Z) = g(Z'), g the ``positive`` part and Z' standard normal there:
    Phi(Z') = (Phi(Z) - share)/(1 - share).
    """

    share: float
    positive: Margin

    def score(self, normal: Floats) -> Floats:
        """Score before recording, at standard normal scores (rows,): minus infinity for a zero, whatever is added."""
        from scipy.special import ndtr, ndtri

        beyond = ndtr(-normal) / (1.0 - self.share)
        some = beyond < 1.0
        return np.where(some, self.positive.score(-ndtri(np.where(some, beyond, 0.5))), -np.inf)

    def record(self, score: Floats) -> Floats:
        """Score as recorded (rows,)."""
        return np.where(np.isneginf(score), 0.0, self.positive.record(score))

    def beyond(self, score: Floats) -> NDArray[np.bool_]:
        """Whose score, rounded, lies outside the bounds of those above 0 (rows,); a zero is no score cut."""
        return ~np.isneginf(score) & self.positive.beyond(score)

    def moments(self) -> tuple[float, float]:
        """Mean and SD of the recorded score, zeros included: those of the positive part are M and S.

        mean = (1 - share) M, SD^2 = (1 - share)(S^2 + M^2) - mean^2.
        """
        mean, sd = self.positive.moments()
        share = 1.0 - self.share
        return share * mean, sqrt(share * (sd**2 + mean**2) - (share * mean) ** 2)


Recorded = Margin | WithZeros


def positive_moments(share: float, mean: float, sd: float) -> tuple[float, float]:
    """Mean and SD above 0 of a score that has this mean and SD with a share of zeros.

    M = mean/(1 - share), S^2 = (sd^2 + mean^2)/(1 - share) - M^2.

    Raises
    ------
    ScenarioError
        When S^2 would not be positive, with the shares for which it is: below sd^2/(sd^2 + mean^2).
    """
    largest = sd**2 / (sd**2 + mean**2)
    if not share < largest:
        raise ScenarioError(
            f"with a mean of {mean:g} and an SD of {sd:g} zero_share lies between 0 and {largest:.4f}, where "
            f"all others are alike; {share:g} given"
        )
    above = mean / (1.0 - share)
    return above, sqrt((sd**2 + mean**2) / (1.0 - share) - above**2)


def with_zeros(share: float, shape: Shape, mean: float, sd: float, highest: float, grid: float) -> WithZeros:
    """Find the distribution whose recorded scores, a share of them 0, have a given mean and SD.

    Scores above 0 are at least one step of the grid, so that the share is exact.

    Raises
    ------
    ScenarioError
        When the positive part cannot have the moments that are left to it, with those and with the range of shares.
    """
    if shape == "normal" and not grid:
        raise ScenarioError(
            "zeros below a continuous normal distribution need a grid: its lowest scores would be 0 too"
        )
    above, spread = positive_moments(share, mean, sd)
    try:
        return WithZeros(share, margin(shape, above, spread, grid, highest, grid))
    except ScenarioError as error:
        largest = sd**2 / (sd**2 + mean**2)
        raise ScenarioError(
            f"zero_share = {share:g} leaves a mean of {above:.4g} and an SD of {spread:.3g} to the others (it "
            f"must lie between 0 and {largest:.4f}, not too close to it): {error}"
        ) from None


@lru_cache(maxsize=256)
def margin(shape: Shape, mean: float, sd: float, lowest: float, highest: float, grid: float) -> Margin:
    """Find the distribution whose recorded scores have a given mean and SD.

    Fixed-point iteration: what the recorded mean lacks is added to the mean before recording, SDs likewise by ratio.

    Raises
    ------
    ScenarioError
        When no distribution of that shape is recorded so, with what the scale allows: scores between L and H with mean
        m have an SD of at most sqrt((m - L)(H - m)), reached when all of them lie on the bounds.
    """
    if not lowest < mean < highest:
        raise ScenarioError(
            f"a mean of {mean:g} does not lie between the lowest ({lowest:g}) and highest ({highest:g})"
        )
    largest = sqrt((mean - lowest) * (highest - mean))
    if not sd < largest:
        raise ScenarioError(f"scores of mean {mean:g} between {lowest:g} and {highest:g} have an SD below {largest:g}")
    before, spread = mean, sd
    for _ in range(1000):
        found = Margin(shape=shape, mean=before, sd=spread, lowest=lowest, highest=highest, grid=grid)
        got_mean, got_sd = found.moments()
        if abs(got_mean - mean) <= 2e-4 * sd and abs(got_sd - sd) <= 2e-4 * sd:
            return found
        before += mean - got_mean
        spread *= sd / got_sd if got_sd else 2.0
        before = max(before, lowest + 1e-6 * sd) if shape == "gamma" else before
        if not (isfinite(before) and spread < 1e6 * sd):
            break
    raise ScenarioError(
        f"no {shape} distribution, rounded to {grid:g} and kept between {lowest:g} and {highest:g}, has mean {mean:g} "
        f"and SD {sd:g}: the SD is too near the largest possible ({largest:.3g}) or too small for the grid"
    )


@lru_cache(maxsize=256)
def correlation_before(first: Recorded, second: Recorded, recorded: float) -> float:
    """Correlation of two standard normal scores whose recorded scores correlate as given.

    With f = sum a_k h_k and g = sum b_k h_k in normalised Hermite polynomials, cov(f(Z), g(Z')) = sum a_k b_k r^k
    (Mehler), which rises with r for rising f and g.

    Raises
    ------
    ScenarioError
        When these margins cannot correlate so, with the range that they can reach.
    """
    products = _hermite(first) * _hermite(second) / (first.moments()[1] * second.moments()[1])

    def correlation(r: float) -> float:
        return float(products @ r ** np.arange(1, TERMS + 1))

    low, high = -0.999, 0.999
    if not correlation(low) <= recorded <= correlation(high):
        reach = f"{correlation(low):.3f} and {correlation(high):.3f}"
        raise ScenarioError(f"scores with these margins have a correlation between {reach}; {recorded:g} given")
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if correlation(middle) < recorded else (low, middle)
    return 0.5 * (low + high)


def _hermite(of: Recorded) -> Floats:
    """Coefficients of the recorded score in normalised Hermite polynomials of degree 1 to TERMS."""
    weighted = WEIGHTS * of.record(of.score(NODES))
    found = np.empty(TERMS)
    before, now = np.ones_like(NODES), NODES
    for degree in range(1, TERMS + 1):
        found[degree - 1] = weighted @ now
        before, now = now, (NODES * now - sqrt(degree) * before) / sqrt(degree + 1)
    return found
