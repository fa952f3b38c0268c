"""Columns of analysed rows less their trial mean, as cluster means and deviations from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simtrial.design_matrix import AnalysisSet
from simtrial.kernels.rounding import computable, without_rounding
from simtrial.kernels.segments import first_by, largest_by, sum_by
from simtrial.kernels.symmetric import Floats

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Column:
    """One centred column.

    Cluster means (clusters,); deviations from them (rows,) where it may vary within clusters; what was subtracted, and
    where values are too large or too small to compute with, and 0 here (trials,).
    """

    means: Floats
    inner: tuple[Floats, ...]
    center: Floats
    out_of_range: Bools


def centred(rows: AnalysisSet, values: Floats, measured: bool, level: str) -> Column:
    """Center a column given per analysed row, or per cluster at practice level.

    The mean of equal values is that value exactly, and deviations that are rounding beside the size of the column are 0
    exactly, so that whatever is constant in a cluster or a trial has no sum of squares there.
    """
    trials, individual = rows.index.trials, level == "participant"
    trial = rows.trial if individual else rows.cluster_trial
    values, size, beyond = in_range(values, trial, trials)
    center = np.zeros(trials)
    if measured:
        values, center = less_mean(values, trial, size, rows.counts, None if individual else rows.sizes)
    if not individual:
        return Column(values, (), center, beyond)
    cluster = rows.cluster_of_row
    anchor = first_by(values, cluster, len(rows.cluster))
    deviation = without_rounding(values - anchor[cluster], size[trial])
    shift = sum_by(deviation, cluster, len(rows.cluster)) / rows.sizes
    return Column(anchor + shift, (deviation - shift[cluster],), center, beyond)


def in_range(values: Floats, trial: Ints, trials: int) -> tuple[Floats, Floats, Bools]:
    """Values, 0 in trials that cannot be computed with; largest absolute values, and which trials these are."""
    size = largest_by(values, trial, trials)
    beyond = ~computable(size)
    if beyond.any():
        values, size = np.where(beyond[trial], 0.0, values), np.where(beyond, 0.0, size)
    return values, size, beyond


def less_mean(
    values: Floats, trial: Ints, size: Floats, counts: Floats, weight: Floats | None = None
) -> tuple[Floats, Floats]:
    """Values less the mean of their trial, rounding taken for 0, and the means (trials,).

    Parameters
    ----------
    values, trial
        (rows,), rows of a trial together.
    size, counts
        Largest absolute value, and number of rows or sum of ``weight`` (trials,).
    """
    anchor = first_by(values, trial, len(counts))  # the mean is taken about it: exact where all values are equal
    deviation = values - anchor[trial]
    total = sum_by(deviation if weight is None else deviation * weight, trial, len(counts))
    shift = total / np.maximum(counts, 1.0)
    return without_rounding(deviation - shift[trial], size[trial]), anchor + shift


def within_with(rows: AnalysisSet, within: Floats, inner: tuple[Floats, ...], added: Column) -> Floats:
    """Cross-products of deviations per cluster with one more column (V + 1, V + 1, clusters)."""
    old, clusters = len(within), len(rows.cluster)
    out = np.empty((old + 1, old + 1, clusters))
    out[:old, :old] = within
    (deviation,) = added.inner
    for at in range(old):
        out[at, old] = out[old, at] = sum_by(inner[at] * deviation, rows.cluster_of_row, clusters)
    out[old, old] = sum_by(deviation**2, rows.cluster_of_row, clusters)
    return out
