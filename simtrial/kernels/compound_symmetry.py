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
from simtrial.kernels.criterion import SizeSums
from simtrial.kernels.ratio_search import Pieces, choose, isolate
from simtrial.kernels.ratio_survey import largest_size
from simtrial.kernels.symmetric import Floats

NEAREST = 1e-7
"""How close gamma comes to its bound, as a share of it: 1 + gamma max n_j loses digits beyond."""
_PIECES = 24


def fit(sums: SizeSums, reml: bool = True) -> random_intercept.Fit:
    """Fit every trial with gamma free above -1/max n_j; one that falls to the bound has not converged there."""
    own = np.broadcast_to(sums.sizes, sums.counts.shape)
    sums = replace(sums, sizes=np.where(sums.counts > 0, own, 1.0))  # sizes of other trials would pass the bound
    first = random_intercept.fit(sums, reml)
    nu, limit = first.nu, 1.0 / largest_size(sums)
    gamma, converged = first.gamma.copy(), first.converged.copy()
    several = np.flatnonzero(sums.counts.sum(axis=0) < sums.rows)
    if len(several):
        best = np.where(gamma > 0.0, 2.0 * first.at.value, np.inf)
        pieces = isolate(sums, nu, reml, limit, _below_zero(limit, several))
        below, done, value = choose(sums, nu, reml, limit, pieces, best)
        lower = value < best
        gamma, converged = np.where(lower, below, gamma), np.where(lower, done, converged)
        stuck = several[~np.isfinite(value[several])]
        gamma[stuck], converged[stuck] = (NEAREST - 1.0) * limit[stuck], False
    return random_intercept.fit_at(sums, gamma, nu, reml, converged, first.limit)


def _below_zero(limit: Floats, trials: NDArray[np.intp]) -> Pieces:
    """Pieces of log(gamma + limit) from next to the bound up to gamma = 0, for some of the trials."""
    ends = np.linspace(np.log(NEAREST), 0.0, _PIECES + 1)
    low, high = (np.log(limit[trials])[:, None] + e for e in (ends[:-1], ends[1:]))
    return Pieces.between(np.repeat(trials, _PIECES), low.ravel(), high.ravel())
