"""Stretches of the variance ratio, halved until each holds one minimum of the random-intercept criterion at most.

The bounds of `simtrial.kernels.ratio_survey` on derivatives of F(t), t = log(gamma + shift), need no grid: from F and
two derivatives in the middle of a stretch they say whether it can hold a minimum, and whether F is convex in it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.random_intercept_criterion import SizeSums, evaluate
from simtrial.kernels.ratio_survey import of_logarithm

_NUMBERS = 4_000_000  # of the cross-products evaluated in one pass: 32 MB
_NARROW = 1e-5  # half a piece in t that is no longer halved
_FLAT = 1e-11  # what F can still change in a piece that is no longer halved, relative to the rows


@dataclass(frozen=True)
class Pieces:
    """Stretches of t = log(gamma + shift): their trials, both ends and where to start a search inside (pieces,)."""

    trial: Ints
    low: Floats
    high: Floats
    start: Floats

    @classmethod
    def between(cls, trial: Ints, low: Floats, high: Floats) -> Pieces:
        """Stretches to be searched from their middle."""
        return cls(trial, low, high, 0.5 * (low + high))

    def __len__(self) -> int:
        return len(self.trial)

    def take(self, chosen: Ints | Bools | slice) -> Pieces:
        """Return some of the stretches."""
        return Pieces(self.trial[chosen], self.low[chosen], self.high[chosen], self.start[chosen])

    def halves(self) -> Pieces:
        """Both halves of every stretch."""
        middle = 0.5 * (self.low + self.high)
        low, high = np.concatenate([self.low, middle]), np.concatenate([middle, self.high])
        return Pieces.between(np.tile(self.trial, 2), low, high)


def together(parts: list[Pieces]) -> Pieces:
    """Several sets of stretches as one."""
    return Pieces(*(np.concatenate([getattr(p, n) for p in parts]) for n in ("trial", "low", "high", "start")))


def isolate(
    sums: SizeSums, nu: Floats, reml: bool, shift: Floats, pieces: Pieces, best: Floats | None = None
) -> Pieces:
    """Halve pieces until each that is left holds one minimum at most; those that hold none are dropped.

    ``shift`` (trials,); ``best`` (trials,) values of F that are reached: what lies above them does not matter.
    """
    most = max(1, _NUMBERS // (sums.between.shape[0] * sums.between.shape[1]))
    done = [pieces.take(slice(0, 0))]
    while len(pieces):
        drop, whole = (np.zeros(len(pieces), dtype=bool) for _ in range(2))
        for first in range(0, len(pieces), most):
            chosen = slice(first, first + most)
            drop[chosen], whole[chosen] = _judged(sums, nu, reml, shift, pieces.take(chosen), best)
        done.append(pieces.take(whole & ~drop))
        pieces = pieces.take(~whole & ~drop).halves()
    return together(done)


def _judged(
    sums: SizeSums, nu: Floats, reml: bool, shift: Floats, pieces: Pieces, best: Floats | None
) -> tuple[Bools, Bools]:
    """Pieces without a minimum that matters, and those not to be halved (pieces,)."""
    trial, half = pieces.trial, 0.5 * (pieces.high - pieces.low)
    u, own = np.exp(pieces.start), nu[trial]
    at = evaluate(sums.take(trial), u - shift[trial], own, reml)
    slope, curvature = 2.0 * u * at.slope, 2.0 * u * (u * at.curvature + at.slope)
    x = -u * at.rss1 / at.rss
    bend = curvature + own * (x**2 - u * (at.rss1 + u * at.rss2) / at.rss)  # D''
    grown = np.minimum(np.maximum(x, 0.0) * np.exp(2.0 * half), 1.0)
    third = np.exp(half) * np.maximum(bend, 0.0) + own * of_logarithm(grown, 3)
    change = half * (np.abs(slope) + 0.5 * half * (np.abs(curvature) + third * half))
    away = half * third  # F'' may be this far from its value in the middle
    drop = (np.abs(slope) > half * (np.abs(curvature) + 0.5 * away)) | (curvature < -away) | ~np.isfinite(slope)
    if best is not None:
        drop |= 2.0 * at.value - change > best[trial]
    return drop, (curvature > away) | (half < _NARROW) | (change < _FLAT * sums.rows[trial])


def of_trials(sums: SizeSums, trials: Ints) -> SizeSums:
    """Sums of some trials; those themselves where it is all of them in order."""
    if np.array_equal(trials, np.arange(len(sums.rows))):
        return sums
    return sums.take(trials)
