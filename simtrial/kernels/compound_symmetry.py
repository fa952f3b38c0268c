"""The random-intercept model with a between-cluster variance that may be negative (compound symmetry).

The criterion is that of `simtrial.kernels.criterion`, which holds as long as 1 + n_j gamma > 0 in every cluster: gamma
then lies above -1/max n_j (Searle, Casella and McCulloch 1992, doi:10.1002/9780470316856). Every bracketed
minimum is refined and the lowest kept. Near the bound the likelihood of ML is unbounded where one cluster is the
largest, so a minimum inside is taken before the bound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels import random_intercept
from simtrial.kernels.criterion import SizeSums, evaluate
from simtrial.kernels.symmetric import Floats

SHARES = np.array([0.999, 0.99, 0.96, 0.9, 0.8, 0.65, 0.5, 0.35, 0.2, 0.1, 0.0])
"""Grid of -gamma as a share of its bound 1/max n_j, from the bound to 0."""
_ITERATIONS = 60


def fit(sums: SizeSums, reml: bool = True) -> random_intercept.Fit:
    """Fit every trial with gamma free above -1/max n_j; one that falls to the bound has not converged there."""
    own = np.broadcast_to(sums.sizes, sums.counts.shape)
    sums = replace(sums, sizes=np.where(sums.counts > 0, own, 1.0))  # sizes of other trials would pass the bound
    first = random_intercept.fit(sums, reml)
    nu, limit = first.nu, 1.0 / sums.sizes.max(axis=0)
    gamma, converged = first.gamma.copy(), first.converged.copy()
    alone = sums.counts.sum(axis=0) == sums.rows
    best = np.where(gamma > 0, first.at.value, np.inf)
    slopes = np.stack([evaluate(sums, -share * limit, nu, reml).slope for share in SHARES])
    rows, trials = np.nonzero((slopes[:-1] < 0.0) & (slopes[1:] >= 0.0) & ~alone)
    if len(rows):
        low, high = -SHARES[rows] * limit[trials], -SHARES[rows + 1] * limit[trials]
        found, value, done = _refine(sums.take(trials), nu[trials], reml, low, high, limit[trials])
        order = np.argsort(-value, kind="stable")  # the lowest value is written last
        better = order[value[order] < best[trials[order]]]
        best[trials[better]] = value[better]
        gamma[trials[better]], converged[trials[better]] = found[better], done[better]
    stuck = ~np.isfinite(best) & ~alone
    gamma[stuck], converged[stuck] = -SHARES[0] * limit[stuck], False
    at = evaluate(sums, gamma, nu, reml)
    deviance = 2.0 * at.value + nu * (1.0 + np.log(2.0 * np.pi / nu))
    return random_intercept.Fit(sums, gamma, at.rss / nu, deviance, converged, at, nu, reml)


def _refine(
    sums: SizeSums, nu: Floats, reml: bool, low: Floats, high: Floats, limit: Floats
) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """Newton steps in log(gamma + limit) kept inside a shrinking bracket: gamma, value of f, converged."""
    gamma, small = 0.5 * (low + high), np.zeros(len(nu), dtype=bool)
    at = evaluate(sums, gamma, nu, reml)
    for _ in range(_ITERATIONS):
        rising = at.slope > 0.0
        high, low = np.where(rising, gamma, high), np.where(rising, low, gamma)
        t = gamma + limit
        slope, curvature = t * at.slope, t * t * at.curvature + t * at.slope
        with np.errstate(invalid="ignore", divide="ignore"):
            new = t * np.exp(np.clip(-slope / curvature, -1.5, 1.5)) - limit
        inside = (curvature > 0.0) & (new >= low) & (new <= high)
        new = np.where(inside, new, 0.5 * (low + high))
        small = np.abs(new - gamma) <= 1e-7 * t
        gamma = new
        at = evaluate(sums, gamma, nu, reml)
        if small.all():
            break
    return gamma, at.value, small
