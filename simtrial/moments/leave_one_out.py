"""The mixed model with all practices, and refitted without each of them in turn."""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Bools, Floats
from simtrial.kernels import random_intercept_fit
from simtrial.kernels.without_clusters import without_clusters
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
    columns = moments.means[: p + 1], moments.within, moments.varying, rows.slots[0], moments.sizes
    step = max(1, NUMBERS // (sums.between.shape[0] * sums.between.shape[1]))
    for first in range(0, len(clusters), step):
        chosen = clusters[first : first + step]
        trial, position = moments.cluster_trial[chosen], rows.position[chosen]
        left, gone = without_clusters(sums, *columns, np.searchsorted(usable, trial), chosen)
        able = np.flatnonzero(left.rows - left.rank > 0)
        with np.errstate(divide="ignore", invalid="ignore"):  # what is left may be fitted perfectly
            found = random_intercept_fit.fit(left if len(able) == len(chosen) else left.take(able)).at.coefficients
        without[trial[able], position[able]] = found.T
        singular[trial, position] = gone
    return every, without, singular
