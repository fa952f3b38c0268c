"""Confidence sets by inversion of a resampling test: where its p-value, a step function of the effect, is large.

A draw is as extreme as the trial where a polynomial in the effect is not negative, so that its part in the p-value
changes at roots of that polynomial alone. The p-value is therefore known between all roots of all draws, and the set of
effects not rejected is a union of finitely many intervals.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.kernels.anderson_rubin import Set
from simtrial.kernels.interval_sets import EMPTY, INTERVAL, RAY, TWO_RAYS, WHOLE_LINE

TIE = 1e-9  # share of the largest statistic that makes no difference
FAR = 1e8  # standard errors from the estimate beyond which an end is none
LEAST = 1e-15  # share of the largest coefficient that stands for a highest one of 0: its root is beyond FAR


def not_rejected(roots: Floats, extreme: Callable[[Floats], Bools], there: Bools, alpha: float) -> tuple[Set, Floats]:
    """Effects with p > alpha, p = (1 + draws as extreme as the trial)/(1 + draws), and of how many pieces they are.

    The set is the smallest of those that `simtrial.kernels.interval_sets` has a name for that holds all pieces: a
    bounded one loses its gaps, and one that is unbounded on both sides all but its widest.

    Parameters
    ----------
    roots
        Where a draw may change (K, draws, trials), in units of about a standard error around the estimate; NaN or
        infinite where it does not. Places where it does not change after all do no harm.
    extreme
        Whether draws are as extreme as the trial at effects of their own (draws, trials).
    there
        Draws that count (draws, trials).
    """
    points = np.sort(np.where(np.abs(roots) <= FAR, roots, np.inf), axis=0)
    inside = np.stack([extreme(at) & there for at in _between(points)])
    change = inside[1:].astype(np.int64) - inside[:-1]
    places = np.where(change != 0, points, np.inf)
    trials = roots.shape[2]
    places, change = (values.reshape(-1, trials).T for values in (places, change))
    order = np.argsort(places, axis=1)
    places, change = (np.take_along_axis(values, order, axis=1) for values in (places, change))
    count = np.cumsum(np.concatenate([inside[0].sum(axis=0)[:, None], change], axis=1), axis=1)
    needed = np.floor(alpha * (there.sum(axis=0) + 1) + 1e-9)
    return _named(places, count >= needed[:, None])


def linear(y: Floats, d: Floats, own_y: Floats, own_d: Floats) -> tuple[Floats, Callable[[Floats], Bools]]:
    """Roots (2, draws, trials) and `extreme` of |y_b - x d_b| >= |y - x d|, the product of two linear factors.

    A factor that is 0 throughout, as in re-allocations to the trial's own arms, makes a draw as extreme everywhere.

    Parameters
    ----------
    y, d
        Statistics of draws (draws, trials), of size 1 at most.
    own_y, own_d
        Those of the trial (trials,).
    """
    tops, bottoms = ([_exact(draw + sign * own) for sign in (-1.0, 1.0)] for draw, own in ((y, own_y), (d, own_d)))
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack([top / bottom for top, bottom in zip(tops, bottoms, strict=True)])

    def extreme(at: Floats) -> Bools:
        return np.asarray((tops[0] - at * bottoms[0]) * (tops[1] - at * bottoms[1]) >= 0.0)

    return roots, extreme


def quartic(y: Floats, d: Floats, draw: Floats, own: Floats) -> tuple[Floats, Callable[[Floats], Bools]]:
    """Roots (4, draws, trials) and `extreme` of (y - x d)^2 / s_b(x) >= x^2 / s(x).

    The real parts of complex roots are among them, where nothing changes.

    Parameters
    ----------
    y, d
        Numerators of draws (draws, trials).
    draw, own
        Coefficients of the variances s_b (3, draws, trials) and s (3, trials), constant first.
    """
    top = np.stack([y**2, -2.0 * y * d, d**2])
    coefficients = np.zeros((5, *y.shape))
    for i in range(3):
        for j in range(3):
            coefficients[i + j] += top[i] * own[j]
        coefficients[i + 2] -= draw[i]

    def extreme(at: Floats) -> Bools:
        mine = at**2 * np.maximum(draw[0] + at * (draw[1] + at * draw[2]), 0.0)
        theirs = (y - at * d) ** 2 * np.maximum(own[0] + at * (own[1] + at * own[2]), 0.0)
        return np.asarray(theirs >= mine * (1.0 - TIE))

    return _real_parts(coefficients), extreme


def _real_parts(coefficients: Floats) -> Floats:
    """Real parts of the roots of quartics (5, ...), constant first: eigenvalues of their companion matrices."""
    finite = np.isfinite(coefficients).all(axis=0)
    coefficients = np.where(finite, coefficients, 1.0)
    least = LEAST * np.abs(coefficients).max(axis=0) + np.finfo(float).tiny
    highest = np.where(np.abs(coefficients[4]) < least, least, coefficients[4])
    companion = np.zeros((*highest.shape, 4, 4))
    companion[..., range(1, 4), range(3)] = 1.0
    companion[..., 3] = np.moveaxis(-coefficients[:4] / highest, 0, -1)
    return np.asarray(np.moveaxis(np.linalg.eigvals(companion).real, -1, 0))


def _exact(values: Floats) -> Floats:
    return np.where(np.abs(values) <= TIE, 0.0, values)


def _between(points: Floats) -> list[Floats]:
    """An effect before the first, between any two and after the last of some points, infinite ones last."""
    start = np.where(np.isinf(points[0]), 0.0, points[0])
    found = [start - np.maximum(1.0, np.abs(start))]
    for at, point in enumerate(points):
        ahead = points[at + 1] if at + 1 < len(points) else np.full_like(point, np.inf)
        here = np.where(np.isinf(point), 0.0, point)
        middle = np.where(np.isinf(ahead), here + np.maximum(1.0, np.abs(here)), 0.5 * (here + ahead))
        found.append(np.where(np.isinf(point), found[-1], middle))
    return found


def _named(places: Floats, kept: Bools) -> tuple[Set, Floats]:
    """The set of cells ``kept`` (trials, E + 1) between sorted places (trials, E), and its number of pieces."""
    endless = np.full((len(places), 1), np.inf)
    left, right = np.concatenate([-endless, places], axis=1), np.concatenate([places, endless], axis=1)
    wide = left < right
    accepted, rejected = kept & wide, ~kept & wide
    some, all_of = accepted.any(axis=1), ~rejected.any(axis=1)
    lower = np.where(accepted, left, np.inf).min(axis=1)
    upper = np.where(accepted, right, -np.inf).max(axis=1)
    behind = np.maximum.accumulate(np.where(accepted, right, -np.inf), axis=1)
    with np.errstate(invalid="ignore"):
        gap = np.where(rejected & (behind > -np.inf) & (right < np.inf), right - behind, -np.inf)
    widest = gap.argmax(axis=1)[:, None]
    apart = np.isinf(lower) & np.isinf(upper) & some & ~all_of
    ends = [np.take_along_axis(values, widest, axis=1)[:, 0] for values in (behind, right)]
    lower, upper = np.where(apart, ends[0], lower), np.where(apart, ends[1], upper)
    kind = np.where(np.isinf(lower) | np.isinf(upper), RAY, np.where(apart, TWO_RAYS, INTERVAL))
    kind = np.where(some, np.where(all_of, WHOLE_LINE, kind), EMPTY)
    lower, upper = (np.where(some, end, np.nan) for end in (lower, upper))
    last = np.maximum.accumulate(np.where(wide, np.arange(wide.shape[1]), 0), axis=1)
    state = np.take_along_axis(kept, last, axis=1)  # cells of no width are like the one before
    pieces = state[:, 0] + (state[:, 1:] & ~state[:, :-1]).sum(axis=1)
    return Set(lower, upper, kind), np.asarray(pieces, dtype=np.float64)
