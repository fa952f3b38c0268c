"""Global minimum of the random-intercept criterion over the variance ratio, certified trial by trial.

The survey of `simtrial.kernels.ratio_survey` leaves most trials one convex stretch at most, and with it one minimum.
Trials that may have a minimum beyond its grid are surveyed once more, on a longer one. What is then left open in
doubtful trials is halved by `simtrial.kernels.ratio_pieces` until no piece can hold a minimum or the piece is convex.
Every minimum so enclosed is refined by safeguarded Newton steps and the lowest taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType

import numpy as np

from simtrial.arrays import Bools, Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.random_intercept_criterion import (
    Evaluation,
    SizeSums,
    blank_evaluation,
    evaluate,
    evaluation_of,
    slope_at_zero,
)
from simtrial.kernels.random_intercept_grid import XGrids
from simtrial.kernels.ratio_pieces import Pieces, isolate, of_trials, together
from simtrial.kernels.ratio_refine import choose
from simtrial.kernels.ratio_survey import CAP, FAR, NEAR, STEP, Survey, grid_of, survey
from simtrial.kernels.within_basis import left_within, used_up

_WIDE = 1.5  # of a first piece where there is no grid
_AT_REST = 1e-9  # rounding of F, whose terms are up to some 1e5, where it has come to rest at its limit


@dataclass(frozen=True)
class Optimum:
    """Minimiser gamma, whether its refinement converged, and whether f falls without end there (trials,)."""

    gamma: Floats
    converged: Bools
    endless: Bools

    def put(self, trials: Ints, found: Optimum) -> None:
        """Enter what was found for some of the trials."""
        self.gamma[trials], self.converged[trials], self.endless[trials] = found.gamma, found.converged, found.endless


@dataclass(frozen=True)
class EvaluatedOptimum:
    """What the compiled search finds: the optimum, the criterion there, and q at gamma = 0 (trials,)."""

    optimum: Optimum
    at: Evaluation
    at_zero: Floats


def lowest(
    sums: SizeSums, nu: Floats, reml: bool, known: XGrids | None = None, flat_too: bool = True
) -> Optimum:  # fmt: skip
    """Find the global minimum of f over gamma >= 0 for every trial, as `_lowest` does."""
    found = compiled_search(sums, nu, reml, known, flat_too)
    return _lowest(sums, nu, reml, known, flat_too) if found is None else found.optimum


def compiled_search(
    sums: SizeSums, nu: Floats, reml: bool, known: XGrids | None = None, flat_too: bool = True
) -> EvaluatedOptimum | None:
    """Search with the compiled kernel, None where it does not serve; numpy goes on where it is not certain at once."""
    if (core := compiled()) is None:
        return None
    gamma, sure, at_zero, at = _at_once(core, sums, nu, reml, NEAR, known)
    rest = np.flatnonzero(~sure)
    if len(rest):
        gamma[rest], sure[rest], _, again = _at_once(core, sums.take(rest), nu[rest], reml, FAR)
        _put(at, rest, again)
    best = Optimum(gamma, np.ones(len(nu), dtype=bool), np.zeros(len(nu), dtype=bool))
    if not reml:
        best.endless[:] = used_up(sums)
        gamma[best.endless] = CAP
    rest = np.flatnonzero(~sure)
    if len(rest):
        best.put(rest, _lowest(sums.take(rest), nu[rest], reml, flat_too=flat_too))
    rest = np.flatnonzero(~sure | best.endless)
    if len(rest):
        again = blank_evaluation(sums.regressors, len(rest))
        core.evaluate(*sums.take(rest).plain, *in_order(gamma[rest], nu[rest]), reml, *again)
        _put(at, rest, again)
    return EvaluatedOptimum(best, evaluation_of(at), at_zero)


def _at_once(
    core: ModuleType, sums: SizeSums, nu: Floats, reml: bool, reach: float, known: XGrids | None = None
) -> tuple[Floats, Bools, Floats, tuple[Floats, ...]]:
    """Minimisers from one grid, where they are certain, q at gamma = 0 (trials,), and the evaluation at the minimisers.

    ``reach`` of `grid_of`.
    """
    # here and nowhere else simtrial/core/ratio_search.c takes over; it leaves to numpy what is not certain at once
    trials, p = len(nu), sums.regressors
    grid, nodes, shift = grid_of(sums, reach)
    of_x = _of_x((-(-trials // core.LANES), len(grid), p * (p + 1) // 2 + 2, core.LANES), grid, known)
    gamma, sure, at_zero = np.empty(trials), np.empty(trials, dtype=bool), np.empty(trials)
    at = blank_evaluation(p, trials)
    core.lowest(*sums.plain, *in_order(nu), reml, grid, nodes, shift, *of_x, gamma, sure, at_zero, *at)
    return gamma, sure, at_zero, at


def _put(at: tuple[Floats, ...], trials: Ints, found: tuple[Floats, ...]) -> None:
    """Enter the evaluation of some trials."""
    for values, new in zip(at, found, strict=True):
        values[..., trials] = new


def _of_x(shape: tuple[int, ...], grid: Floats, known: XGrids | None) -> tuple[Floats, bool]:
    """Room for what X alone decides on a grid, and whether it is there already; empty if it is not kept."""
    if known is None:
        return np.empty((0, 0, 0, 0)), False
    key = grid.tobytes()
    there = key in known.compiled
    if not there:
        known.compiled[key] = np.empty(shape)
    return known.compiled[key], there


def _lowest(
    sums: SizeSums, nu: Floats, reml: bool, known: XGrids | None = None, flat_too: bool = True
) -> Optimum:  # fmt: skip
    """Find the global minimum of f over gamma >= 0 for every trial; ``sums`` as `simtrial.kernels.within_basis` has.

    gamma = 0 is a minimum exactly when f'(0) >= 0. Where f still falls at the largest gamma it falls without end as far
    as numbers can tell. It does under ML, however far out, where covariates use up what varies within clusters: of
    (N log q + sum log(1 + n gamma)) / 2 is left J - N < 0 times log(gamma) / 2. ``known`` as of `grid_parts`,
    ``flat_too`` as of `random_intercept_fit.fit`.
    """
    seen = survey(sums, nu, reml, known)
    near, far = np.flatnonzero(~seen.beyond), np.flatnonzero(seen.beyond)
    if not len(far):
        return _surveyed(sums, nu, reml, seen, flat_too)
    found = Optimum(np.empty(len(nu)), np.empty(len(nu), dtype=bool), np.empty(len(nu), dtype=bool))
    if len(near):
        found.put(near, _surveyed(sums.take(near), nu[near], reml, seen.take(near), flat_too))
    own = of_trials(sums, far)
    found.put(far, _surveyed(own, nu[far], reml, survey(own, nu[far], reml, reach=FAR), flat_too))
    return found


def _surveyed(sums: SizeSums, nu: Floats, reml: bool, seen: Survey, flat_too: bool) -> Optimum:
    """The minimum of every trial from what a grid says of it; see `_lowest`."""
    shift = np.full(len(nu), seen.shift)
    certain = seen.one_stretch
    rises = np.ones(len(nu), dtype=bool)
    near = np.flatnonzero(seen.open[1] | ~certain)
    if len(near):
        rises[near] = slope_at_zero(of_trials(sums, near), nu[near], reml) >= 0.0
    zero = np.where(rises, seen.values[1], np.inf)
    pieces = _convex_stretches(seen, np.flatnonzero(certain & seen.open.any(axis=0) & ~(rises & seen.open[1])))
    gamma, converged, value = choose(sums, nu, reml, shift, pieces, zero)
    endless = np.zeros(len(nu), dtype=bool)
    if not certain.all():
        far, flat = np.flatnonzero(seen.beyond), ~certain & (nu <= 1.0) & (reml and not flat_too)
        reached = seen.values[1:].min(axis=0)
        matters = reached.copy()
        if len(far):
            own = sums.take(far)
            at, left = evaluate(own, np.full(len(far), CAP), nu[far], reml), left_within(own)
            matters[far] = _below_rest(matters[far], 2.0 * at.value, left)
        pieces = isolate(sums, nu, reml, shift, _left_open(seen, np.flatnonzero(~certain & ~flat)), matters)
        rest = choose(sums, nu, reml, shift, pieces, zero)
        gamma, converged = np.where(certain, gamma, rest[0]), np.where(certain, converged, rest[1])
        value = np.where(certain, value, np.where(flat, reached, rest[2]))
        if len(far):
            best = np.minimum(value[far], reached[far])  # where rounding hides a minimum as well
            endless[far] = _endless(CAP * at.slope, 2.0 * at.value, left, best)
    if not reml:
        endless |= used_up(sums)
    lost = ~np.isfinite(value)
    gamma[lost] = np.exp(seen.nodes[1 + seen.values[1:, lost].argmin(axis=0)]) - seen.shift
    return Optimum(np.where(endless, CAP, np.maximum(gamma, 0.0)), (converged & ~lost) | endless, endless)


def _endless(slope: Floats, value: Floats, left: Floats, best: Floats) -> Bools:
    """Where f falls without end, or to a value at infinity that is below the ``best`` reached (trials,).

    ``slope`` of f by log gamma, ``value`` and ``best`` of F = 2f. In the end f falls by d/2 per unit of log gamma, d
    the degrees of freedom ``left`` within clusters, if the outcome does not vary there beyond X; with d = 0, where the
    coefficients of people's covariates use all of them, it comes to rest: what is reached on the way there is no lower
    than rounding.
    """
    falls = (left > 0.0) & (slope < -0.25)  # half of the slowest fall, that of one degree of freedom
    rounding = np.where(left > 0.0, -1e-6, _AT_REST)  # at rest it is the limit itself
    return np.asarray(falls | (value < best + rounding))


def _below_rest(reached: Floats, value: Floats, left: Floats) -> Floats:
    """Values of F above which a piece does not matter (trials,): ``reached``, and where F comes to rest its limit.

    Minima as high as the limit are not taken, see `_endless`. On the way there F differs from it by rounding, and a
    search for minima of rounding would keep tens of thousands of pieces; half of what counts as rounding is left to
    that of the pieces' own bounds.
    """
    limit = value - 0.5 * _AT_REST
    return np.where((left <= 0.0) & (limit < reached), limit, reached)


def _convex_stretches(seen: Survey, trials: Ints) -> Pieces:
    """The one open stretch of every trial, with the minimum of a quartic through five nodes as a start."""
    own = seen.open[:, trials]
    first, last = own.argmax(axis=0), len(own) - own[::-1].argmax(axis=0)
    low, high = seen.nodes[first], seen.nodes[last]
    inside = np.arange(len(seen.nodes))[:, None]
    values = seen.values[:, trials]
    lowest_node = np.where((inside >= first) & (inside <= last), values, np.inf).argmin(axis=0)
    middle = np.clip(lowest_node, 2, len(seen.nodes) - 3)
    a, b, c, d, e = (values[middle + step, np.arange(len(trials))] for step in (-2, -1, 0, 1, 2))
    one, two = (a - 8.0 * b + 8.0 * d - e) / 12.0, (-a + 16.0 * b - 30.0 * c + 16.0 * d - e) / 12.0
    three, four = (e - 2.0 * d + 2.0 * b - a) / 2.0, a - 4.0 * b + 6.0 * c - 4.0 * d + e
    at = (lowest_node - middle).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(4):
            slope = one + at * (two + at * (three / 2.0 + at * four / 6.0))
            at = at - slope / (two + at * (three + at * four / 2.0))
    start = seen.nodes[middle] + STEP * at
    usable = (start > low) & (start < high)
    return Pieces(trials, low, high, np.where(usable, start, np.clip(seen.nodes[lowest_node], low + 0.05, high - 0.05)))


def _left_open(seen: Survey, trials: Ints) -> Pieces:
    """Open cells of doubtful trials, and pieces up to the largest gamma where there may be a minimum beyond."""
    cell, at = np.nonzero(seen.open[:, trials])
    parts = [Pieces.between(trials[at], seen.nodes[cell], seen.nodes[cell + 1])]
    far = trials[seen.beyond[trials]]
    top = np.log(CAP)
    ends = np.linspace(seen.last, top, max(1, int(np.ceil((top - seen.last) / _WIDE))) + 1)
    trial = np.repeat(far, len(ends) - 1)
    parts.append(Pieces.between(trial, np.tile(ends[:-1], len(far)), np.tile(ends[1:], len(far))))
    return together(parts)
