"""The random-intercept model with a between-cluster variance that may be negative (compound symmetry).

The criterion is that of `simtrial.kernels.random_intercept_criterion`, which holds as long as 1 + n_j gamma > 0 in
every cluster: gamma then lies above -1/max n_j (Searle, Casella and McCulloch 1992, doi:10.1002/9780470316856). Every
minimum is enclosed as `simtrial.kernels.ratio_search` does and the lowest taken. Near the bound the likelihood of ML is
unbounded where one cluster is the largest, so a minimum inside is taken before the bound.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats
from simtrial.kernels import random_intercept_fit
from simtrial.kernels.random_intercept_criterion import SizeSums, less_least_squares
from simtrial.kernels.ratio_pieces import Pieces, isolate
from simtrial.kernels.ratio_refine import choose
from simtrial.kernels.ratio_survey import ENOUGH, largest_size
from simtrial.kernels.within_basis import turned, used_up

NEAREST = 1e-5
"""How close gamma comes to its bound, as a share of it: beyond, rounding over 1 + gamma max n_j makes minima."""
_WIDE = 0.7  # of a first piece of log(gamma + bound)


@np.errstate(divide="ignore", invalid="ignore")  # a trial that has no fit divides by 0 beside the others
def fit(sums: SizeSums, reml: bool = True) -> random_intercept_fit.Fit:
    """Fit every trial with gamma free above -1/max n_j; one that falls to the bound has not converged there."""
    own = np.broadcast_to(sums.sizes, sums.counts.shape)
    sums = replace(sums, sizes=np.where(sums.counts > 0, own, 1.0))  # sizes of other trials would pass the bound
    sums, beta = less_least_squares(sums)
    first = random_intercept_fit.fit(sums, reml)
    nu, bound = first.nu, 1.0 / largest_size(sums)
    gamma, converged = first.gamma.copy(), first.converged.copy()
    several, columns = np.flatnonzero(sums.counts.sum(axis=0) < sums.rows), turned(sums)
    best = np.where(gamma > 0.0, 2.0 * first.at.value, np.inf)
    endless = first.limit & ~(used_up(sums) & reml)  # where covariates use all up REML comes to rest
    best = np.where(endless, -np.inf, best)
    for low, high in ((np.log(NEAREST), 0.0), (0.0, np.log(ENOUGH))):  # above 0 where only lower minima were looked for
        pieces = isolate(columns.sums, nu, reml, bound, _pieces(bound, several, low, high))
        found, done, value = choose(columns.sums, nu, reml, bound, pieces, best)
        lower = value < best
        gamma, converged, best = np.where(lower, found, gamma), np.where(lower, done, converged), value
        several = several[best[several] == np.inf]
    gamma[several], converged[several] = (NEAREST - 1.0) * bound[several], False
    limit = first.limit & (gamma == first.gamma)
    return random_intercept_fit.fit_at(columns, gamma, nu, reml, converged, limit).moved(beta)


def _pieces(bound: Floats, trials: NDArray[np.intp], low: float, high: float) -> Pieces:
    """Pieces of log(gamma + bound) for some of the trials, their ends as logarithms of (gamma + bound) / bound."""
    ends = np.linspace(low, high, int(np.ceil((high - low) / _WIDE)) + 1)
    own = [np.log(bound[trials])[:, None] + e for e in (ends[:-1], ends[1:])]
    return Pieces.between(np.repeat(trials, len(ends) - 1), own[0].ravel(), own[1].ravel())
