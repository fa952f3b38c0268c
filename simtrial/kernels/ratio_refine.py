"""Minima of the random-intercept criterion inside pieces of the variance ratio that hold one at most."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.kernels.random_intercept_criterion import SizeSums, evaluate
from simtrial.kernels.ratio_pieces import Pieces, of_trials

_ITERATIONS = 80
_CLOSE = 1e-6  # a step in t after which the error left, well below its square, is rounding
_MARGIN = 1e-4  # a minimum on the border of two pieces is inside both


def choose(
    sums: SizeSums, nu: Floats, reml: bool, shift: Floats, pieces: Pieces, best: Floats
) -> tuple[Floats, Bools, Floats]:
    """Refine the minimum of every piece and take the lowest of each trial, if it lies below ``best`` (F).

    Returns
    -------
    gamma, converged, value
        (trials,) of the lowest minimum; 0, True and ``best`` where there is none.
    """
    gamma, converged, best = np.zeros(len(nu)), np.ones(len(nu), dtype=bool), best.copy()
    if len(pieces):
        pieces = _one_each(pieces, shift) if 0.8 * len(nu) <= len(pieces) < len(nu) else pieces
        found, value, done = _refine(sums, nu, reml, shift, pieces)
        order = np.argsort(-value, kind="stable")  # the lowest value is written last
        better = order[value[order] < best[pieces.trial[order]]]
        for out, new in ((gamma, found), (converged, done), (best, value)):
            out[pieces.trial[better]] = new[better]
    return gamma, converged, best


def _one_each(pieces: Pieces, shift: Floats) -> Pieces:
    """Points at gamma = 0 for the trials without a piece, where each has one at most: no sums need be copied."""
    if (np.diff(pieces.trial) <= 0).any():
        return pieces
    low, high, start = np.log(shift), np.log(shift), np.log(shift)
    low[pieces.trial], high[pieces.trial], start[pieces.trial] = pieces.low, pieces.high, pieces.start
    return Pieces(np.arange(len(shift)), low, high, start)


def _refine(sums: SizeSums, nu: Floats, reml: bool, shift: Floats, pieces: Pieces) -> tuple[Floats, Floats, Bools]:
    """Newton steps in t kept inside a shrinking bracket: gamma, F and whether it converged; who has leaves the batch.

    F is infinite where the steps end at an end of the piece, which then holds no minimum.
    """
    own = of_trials(sums, pieces.trial)
    nu, shift = nu[pieces.trial], shift[pieces.trial]
    t, low, high = pieces.start, pieces.low - _MARGIN, pieces.high + _MARGIN
    found, value, done = t.copy(), np.full(len(t), np.inf), np.zeros(len(t), dtype=bool)
    active, moving, ends, before = np.arange(len(t)), shift, (low, high), None
    for _ in range(_ITERATIONS):
        u = np.exp(t)
        at = evaluate(own, u - moving, nu, reml)
        rising = at.slope > 0.0
        high, low = np.where(rising, t, high), np.where(rising, low, t)
        slope, curvature = u * at.slope, u * u * at.curvature + u * at.slope
        new, inside = _step(t, slope, curvature, (low, high), ends)
        if before is not None:
            new = np.where(inside, _bent(t, slope, curvature, before, (low, high), new), new)
        small = (np.abs(new - t) <= _CLOSE) & ~done[active]
        there = active[small]
        found[there], done[there] = new[small], True
        value[there] = np.where(inside, 2.0 * at.value, np.inf)[small]
        if done[active].all():
            break
        keep = ~done[active]
        if keep.mean() < 0.7:
            own, nu, moving, active = own.take(np.flatnonzero(keep)), nu[keep], moving[keep], active[keep]
            new, low, high, ends = new[keep], low[keep], high[keep], (ends[0][keep], ends[1][keep])
            t, curvature = t[keep], curvature[keep]
        before, t = (t, curvature), new
    return np.exp(found) - shift, value, done


def _step(
    t: Floats, slope: Floats, curvature: Floats, bracket: tuple[Floats, Floats], ends: tuple[Floats, Floats]
) -> tuple[Floats, Bools]:
    """One Newton step, and whether it stays in the bracket: else the end it would pass, or bisection after that."""
    low, high = bracket
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        new = t - np.clip(slope / curvature, -1.5, 1.5)
    inside = (curvature > 0.0) & (new >= low) & (new <= high)
    fresh = (curvature > 0.0) & np.where(slope > 0.0, low == ends[0], high == ends[1])  # not yet evaluated
    instead = np.where(fresh, np.where(slope > 0.0, low, high), 0.5 * (low + high))
    return np.where(inside, new, instead), inside


def _bent(
    t: Floats, slope: Floats, curvature: Floats, before: tuple[Floats, Floats], bracket: tuple[Floats, Floats],
    plain: Floats,
) -> Floats:  # fmt: skip
    """Correct a short Newton step for the change of curvature since the point before (Halley); else the plain one."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        third = (curvature - before[1]) / (t - before[0])
        new = t - slope / (curvature + 0.5 * (plain - t) * third)
        usable = (np.abs(plain - t) < 0.05) & (np.abs(new - plain) < 0.1 * np.abs(plain - t))
    return np.where(usable & (new >= bracket[0]) & (new <= bracket[1]), new, plain)
