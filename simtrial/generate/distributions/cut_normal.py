"""Whole numbers between two bounds with a given mean and SD: a normal density on the grid, cut off at both ends."""

from __future__ import annotations

from functools import lru_cache
from math import erf, sqrt

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.errors import ScenarioError


@lru_cache(maxsize=256)
def cut_normal(mean: float, sd: float, lowest: int, highest: int, limits: tuple[float, ...] = ()) -> Floats:
    """Cumulative probabilities of the cut-off normal that has these moments.

    P(k) is proportional to exp(a t + b t^2), t = (k - lowest) / (highest - lowest), b <= 0 (b = 0: geometric). The
    moments are those of a population in which a share ``limits[i]`` of people can have at most lowest + i, each of them
    distributed as the whole given that limit; a and b then minimise the convex
    sum_i limits[i] log Z_i(a, b) - a E(t) - b E(t^2), Z_i the sum up to i.

    Parameters
    ----------
    mean, sd
        After cutting off.
    lowest, highest
        Bounds, both possible.
    limits
        (highest - lowest + 1,): shares of people by their own highest value; empty: everybody's is ``highest``.

    Returns
    -------
    cumulative
        (highest - lowest + 1,), of the whole, without limits of one's own.

    Raises
    ------
    ScenarioError
        When no member of the family has these moments, with what is reachable.
    """
    width = highest - lowest
    share = np.asarray(limits) if limits else np.eye(width + 1)[-1]
    most = lowest + float(share @ np.arange(width + 1))
    if not lowest < mean < most:
        raise ScenarioError(f"a mean between {lowest:g} and {most:.2f} is reachable; {mean:g} given")
    first = (mean - lowest) / width
    target = np.array([first, first**2 + (sd / width) ** 2])
    weights = _minimised(target, share)
    if weights is None or weights[1] > 0.0:
        low, high = (_sd_at(b, first, share) * width for b in (-0.5 * (width / 0.3) ** 2, 0.0))
        raise ScenarioError(
            f"whole numbers from {lowest} to {highest} of mean {mean:g} have an SD between {low:.2f} and {high:.2f} "
            f"when cut off a normal; {sd:g} given"
        )
    t = np.arange(width + 1) / width
    log = weights[0] * t + weights[1] * t * t
    cumulative = np.cumsum(np.exp(log - log.max()))
    return np.asarray(cumulative / cumulative[-1], dtype=np.float64)


def drawn(cumulative: Floats, uniform: Floats, limit: NDArray[np.intp] | None = None) -> NDArray[np.intp]:
    """Step of the grid that each uniform falls on, given that it is at most ``limit`` (rows,); None: no limit."""
    last = np.intp(len(cumulative) - 1) if limit is None else limit
    found = np.searchsorted(cumulative, uniform * cumulative[last], side="right")
    return np.asarray(np.minimum(found, last), dtype=np.intp)


def whole_years(mean: float, sd: float, youngest: float, lowest: int, highest: int) -> tuple[float, ...]:
    """Shares of people by completed years of age, those beyond ``highest`` put on it, those below ``lowest`` left out.

    Age is normal (mean, sd) cut off below ``youngest`` and recorded to a tenth of a year, as the participants stage
    draws it.
    """

    def below(age: float) -> float:
        return 0.5 * (1.0 + erf((max(age, youngest) - mean) / (sd * sqrt(2.0))))

    edges = [below(year - 0.05) for year in range(lowest, highest + 1)]
    shares = np.diff([*edges, 1.0])
    if not shares.sum() > 0.0:
        raise ScenarioError(f"nobody of mean age {mean:g} (SD {sd:g}) is {youngest:g} or older")
    return tuple(float(s) for s in shares / shares.sum())


def _moments(a: float, b: float, share: Floats) -> tuple[float, Floats, Floats]:
    """Mean log Z, and mean vector and mean covariance of (t, t^2) given each limit, averaged over the limits."""
    t = np.linspace(0.0, 1.0, len(share))
    log = a * t + b * t * t
    top = log.max()
    log_z = np.logaddexp.accumulate(log - top)
    inside = np.tri(len(t), dtype=bool)
    p = np.where(inside, np.exp(np.minimum(log - top - log_z[:, None], 0.0)), 0.0)
    powers = np.stack([t, t**2, t**3, t**4])
    one, two, three, four = powers @ p.T
    mean = np.array([share @ one, share @ two])
    cross = share @ (three - one * two)
    covariance = np.array([[share @ (two - one**2), cross], [cross, share @ (four - two**2)]])
    return float(share @ log_z + top), mean, covariance


def _minimised(target: Floats, share: Floats) -> Floats | None:
    """Damped Newton steps on the convex problem; None when it has no minimum within reach."""
    variance = target[1] - target[0] ** 2
    at: Floats = np.array([target[0], -0.5]) / variance  # the normal, not cut off
    for _ in range(200):
        value, mean, covariance = _moments(at[0], at[1], share)
        gradient = mean - target
        if np.abs(gradient).max() < 1e-12:
            return at
        if np.linalg.det(covariance) <= 1e-300:
            return None
        step = np.linalg.solve(covariance, gradient)
        size = 1.0
        while size > 1e-6:
            trial = at - size * step
            if _moments(trial[0], trial[1], share)[0] - trial @ target <= value - at @ target - 1e-4 * size * (
                gradient @ step
            ):
                break
            size /= 2.0
        if size <= 1e-6:
            return at if np.abs(gradient).max() < 1e-9 else None
        at = at - size * step
    return None


def _sd_at(b: float, mean: float, share: Floats) -> float:
    """SD of t where a makes its mean right, at a given b."""
    low, high = -2.0 * abs(b) - 1e4, 2.0 * abs(b) + 1e4
    for _ in range(100):
        a = 0.5 * (low + high)
        found = _moments(a, b, share)[1]
        if found[0] < mean:
            low = a
        else:
            high = a
    return float(np.sqrt(max(found[1] - found[0] ** 2, 0.0)))
