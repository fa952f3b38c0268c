"""The mixed model with all practices, and refitted without each of them in turn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels import random_intercept_fit
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.rounding import ROUNDING
from simtrial.kernels.small_matrices import independent, pairs
from simtrial.moments.moments import Moments

NUMBERS = 250_000  # of the cross-products in one pass: 2 MB, which stay in a core's own memory


def coefficients(moments: Moments) -> tuple[Floats, Floats, Bools]:
    """REML coefficients with all practices, without each, and where one alone determines a coefficient.

    The variances are estimated anew without each practice. A coefficient that is then left undetermined is 0.

    Returns
    -------
    every, without, singular
        (trials, p); (trials, positions, p); (trials, positions). NaN where nothing can be fitted.
    """
    rows, usable, p = moments.analysed, moments.usable, moments.regressors
    every = np.full((moments.trials, p), np.nan)
    without = np.full((moments.trials, rows.most, p), np.nan)
    singular = np.zeros((moments.trials, rows.most), dtype=bool)
    if not len(usable):
        return every, without, singular
    every[usable] = moments.reml_where_told.at.coefficients.T
    sums = moments.size_sums()
    clusters = np.flatnonzero(np.isin(moments.cluster_trial, usable))
    step = max(1, NUMBERS // (sums.between.shape[0] * sums.between.shape[1]))
    for first in range(0, len(clusters), step):
        chosen = clusters[first : first + step]
        trial, position = moments.cluster_trial[chosen], rows.position[chosen]
        left, gone = _less(moments, sums.take(np.searchsorted(usable, trial)), chosen)
        able = np.flatnonzero(left.rows - left.rank > 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # what is left may be fitted perfectly
            found = random_intercept_fit.fit(left.take(able)).at.coefficients
        without[trial[able], position[able]] = found.T
        singular[trial, position] = gone
    return every, without, singular


def _less(moments: Moments, sums: SizeSums, clusters: Ints) -> tuple[SizeSums, Bools]:
    """Take one cluster from each set of sums, and leave out the columns that no longer vary without it."""
    rows, columns = pairs(sums.regressors + 1)
    at, slot = np.arange(len(clusters)), moments.analysed.slots[0][clusters]
    z, n = moments.means[: sums.regressors + 1, clusters], moments.sizes[clusters]
    full = sums.products(np.zeros(len(clusters)))
    counts, between, within = sums.counts.copy(), sums.between.copy(), sums.within.copy()
    counts[slot, at] -= 1.0
    between[slot, :, at] -= (z[rows] * z[columns]).T
    place = {column: k for k, column in enumerate(moments.varying)}
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        if i in place and j in place:
            within[k] -= moments.within[place[i], place[j]][clusters]
    own = np.flatnonzero(rows == columns)
    flat = within[own] <= ROUNDING * sums.within[own]  # a difference that is rounding of what it was taken from
    within = np.where(flat[rows] | flat[columns], 0.0, within)
    left = replace(sums, counts=counts, between=between, within=within, rows=sums.rows - n)
    p, diagonal = sums.regressors, np.arange(sums.regressors)
    kept = independent(left.products(np.zeros(len(clusters)))[:p, :p], full[diagonal, diagonal])
    drop = np.concatenate([~kept, np.zeros((1, len(clusters)), dtype=bool)])
    gone = drop[rows] | drop[columns]
    within = np.where(gone, (rows == columns)[:, None] * 1.0, within)
    between = np.where(gone, 0.0, between)
    dropped, rank = np.maximum(sums.dropped, drop[:p]), sums.rank - drop.sum(axis=0)
    left = replace(left, between=between, within=within, dropped=dropped, rank=rank)
    return left, np.asarray(drop.any(axis=0))
