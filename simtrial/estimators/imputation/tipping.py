"""Tipping points: the smallest shift of imputed outcomes at which the conclusion of a trial is another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.batch import ObservedBatch
from simtrial.estimators.imputation.incomplete import Incomplete
from simtrial.kernels.rubin import Rule, pool
from simtrial.kernels.segments import sum_by
from simtrial.kernels.students_t import two_sided

Shifted = Literal["none", "control", "intervention", "both"]

REACH = 20.0  # SDs of the outcome within which a tipping point is sought
STEPS = 128  # of the search on either side, where the analysis is known at every shift
EXACT = 1e-8  # share by which an analysis may be off the polynomials through three shifts
CLOSE = 1e-9  # SDs within which a tipping point is found by repeated analyses
ROUNDS = 60


@dataclass(frozen=True, kw_only=True)
class Analyses:
    """Estimates, their variances, and df of the analyses of completed data (m, trials) each."""

    estimates: Floats
    variances: Floats
    df: Floats

    def excess(self, level: float, rule: Rule) -> Floats:
        """One less the level, less the p-value, pooled: above 0 where the conclusion is that there is an effect."""
        df = np.broadcast_to(self.df, self.estimates.shape).mean(axis=0)
        pooled = pool(self.estimates, self.variances, df, rule)
        with np.errstate(invalid="ignore", divide="ignore"):
            p_value = two_sided(pooled.estimate / np.sqrt(pooled.variance), pooled.df)
        return np.asarray(1.0 - level - p_value)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Analyses as polynomials of the shift: estimates affine, variances quadratic, df fixed (m, trials)."""

    intercept: Floats
    slope: Floats
    squares: tuple[Floats, Floats, Floats]
    df: Floats

    @classmethod
    def through(cls, below: Analyses, middle: Analyses, above: Analyses, step: Floats) -> Curve:
        """The polynomials through shifts -step, 0 and step."""
        first = (above.variances - below.variances) / (2 * step)
        second = (above.variances + below.variances - 2 * middle.variances) / (2 * step**2)
        return cls(
            intercept=middle.estimates, slope=(above.estimates - below.estimates) / (2 * step),
            squares=(middle.variances, first, second), df=middle.df,
        )  # fmt: skip

    def at(self, shift: Floats) -> Analyses:
        """Analyses at shifts (trials,)."""
        a, b, c = self.squares
        return Analyses(
            estimates=self.intercept + self.slope * shift, variances=np.maximum(a + b * shift + c * shift**2, 0.0),
            df=self.df,
        )  # fmt: skip

    def gives(self, found: Analyses, shift: Floats) -> Bools:
        """Whether it has the analyses at a shift, to within rounding (trials,)."""
        own, size = self.at(shift), np.sqrt(found.variances)
        with np.errstate(invalid="ignore"):
            off = np.abs(own.estimates - found.estimates) / size
            off = np.maximum(off, np.abs(own.variances - found.variances) / found.variances)
            off = np.maximum(off, np.abs(own.df - found.df) / np.maximum(found.df, 1.0))
        return np.asarray(~(np.nan_to_num(off, nan=0.0).max(axis=0) > EXACT))


def shifted(incomplete: Incomplete, completed: ObservedBatch, arms: Shifted, shift: Floats) -> ObservedBatch:
    """Add a shift (trials,) to the imputed outcomes of some arms."""
    outcome, arm = incomplete.spec.outcome, completed.at("arm")
    reached = incomplete.lacks(outcome) & ((arms == "both") | (arm == (arms == "intervention")))
    values = completed.at(outcome) + np.where(reached, shift[completed.index.participant_trial], 0.0)
    return incomplete.filled(completed, outcome, values)


def scale(incomplete: Incomplete) -> Floats:
    """SD of the observed outcomes (trials,); 1 where they do not vary."""
    values, trial = incomplete.batch.at(incomplete.spec.outcome), incomplete.batch.index.participant_trial
    seen, trials = ~np.isnan(values), incomplete.batch.index.trials
    count = np.maximum(np.bincount(trial[seen], minlength=trials), 1)
    mean = sum_by(values[seen], trial[seen], trials) / count
    squares = sum_by((values[seen] - mean[trial[seen]]) ** 2, trial[seen], trials) / count
    return np.where(squares > 0, np.sqrt(squares), 1.0)


def tipping_points(analyse: Callable[[Floats], Analyses], unit: Floats, level: float, rule: Rule) -> Floats:
    """Shift nearest to 0 at which the conclusion is another one than without (trials,); NaN within no reach.

    Analyses that are linear in the outcome are polynomials of the shift: three shifts give them all, which a fourth
    confirms, and the search costs nothing. Others are analysed at shifts that close in on the point, all trials at
    once, from the nearest that the polynomials give.

    Parameters
    ----------
    analyse
        The analyses of completed data at shifts (trials,).
    unit
        SD of the outcome (trials,).
    """
    nought = np.zeros_like(unit)
    curve = Curve.through(analyse(-unit), analyse(nought), analyse(unit), unit)
    exact = curve.gives(analyse(3.0 * unit), 3.0 * unit)
    near = _nearest(lambda shift: curve.at(shift).excess(level, rule), unit)
    if exact.all() or np.isnan(near[~exact]).all():
        return near
    return np.where(exact, near, _closed_in(lambda shift: analyse(shift).excess(level, rule), near, unit))


def _nearest(excess: Callable[[Floats], Floats], unit: Floats) -> Floats:
    """First change of sign going away from 0 on either side, by a search and then by halving."""
    at = excess(np.zeros_like(unit)) > 0
    best, far = np.full_like(unit, np.nan), np.full_like(unit, np.inf)
    for side in (-1.0, 1.0):
        low, high, found = np.zeros_like(unit), np.zeros_like(unit), np.zeros(len(unit), dtype=bool)
        for step in range(1, STEPS + 1):
            shift = side * unit * REACH * (step / STEPS) ** 2
            other = ~found & ((excess(shift) > 0) != at)
            high = np.where(other, shift, high)
            found |= other
            low = np.where(found, low, shift)
        root = _halved(excess, low, high, at)
        nearer = found & (np.abs(root) < far)
        best, far = np.where(nearer, root, best), np.where(nearer, np.abs(root), far)
    return best


def _halved(excess: Callable[[Floats], Floats], low: Floats, high: Floats, at: Bools) -> Floats:
    """Where the sign changes between ``low``, where it is ``at``, and ``high``; the end where it has changed."""
    for _ in range(ROUNDS):
        middle = 0.5 * (low + high)
        same = (excess(middle) > 0) == at
        low, high = np.where(same, middle, low), np.where(same, high, middle)
    return high


def _closed_in(excess: Callable[[Floats], Floats], near: Floats, unit: Floats) -> Floats:
    """A change of sign about a guess: the interval is widened until it holds one, then false position and halving."""
    at, guess = excess(np.zeros_like(unit)) > 0, np.nan_to_num(near)
    low, high, found = guess, guess, np.zeros(len(guess), dtype=bool)
    wide = 0.02 * np.abs(guess) + 1e-4 * unit
    for _ in range(8):
        low = np.where(found, low, np.where(guess < 0, np.minimum(guess + wide, 0.0), np.maximum(guess - wide, 0.0)))
        high = np.where(found, high, guess + np.sign(guess) * wide)
        found = ((excess(low) > 0) == at) & ((excess(high) > 0) != at)
        wide = 3.0 * wide
        if (found | np.isnan(near)).all():
            break
    lower, upper = excess(low), excess(high)
    for step in range(ROUNDS):
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.clip(np.nan_to_num(lower / (lower - upper), nan=0.5), 0.001, 0.999) if step % 3 else 0.5
        middle = low + share * (high - low)
        value = excess(middle)
        same = (value > 0) == at
        low, lower = np.where(same, middle, low), np.where(same, value, lower)
        high, upper = np.where(same, high, middle), np.where(same, upper, value)
        if (np.abs(high - low)[found] <= CLOSE * unit[found]).all():
            break
    return np.where(found, high, np.nan)
