"""Columns of analysed rows less their trial mean, as cluster means and deviations from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.rounding import LARGEST, ROUNDING, SMALLEST, computable, without_rounding
from simtrial.kernels.segments import first_by, largest_by, sum_by
from simtrial.moments.analysis_set import AnalysisSet

NONE = np.empty(0, dtype=np.int64)


@dataclass(frozen=True)
class Column:
    """One centred column.

    Cluster means (clusters,); deviations from them (rows,) where it may vary within clusters; what was subtracted, and
    where values are too large or too small to compute with, and 0 here (trials,). ``products`` (columns + 1, clusters)
    are sums of products of the deviations with those of other columns, and with themselves, by cluster.
    """

    means: Floats
    inner: tuple[Floats, ...]
    center: Floats
    out_of_range: Bools
    products: Floats


def centred(
    rows: AnalysisSet,
    values: Floats,
    measured: bool,
    level: str,
    others: Floats | None = None,
    at: Ints | None = None,
    into: tuple[Floats, Floats] | None = None,
) -> Column:
    """Center a column given per analysed row, or per cluster at practice level.

    ``others`` (columns, rows) are deviations of other columns that it is multiplied with; ``at`` (rows,) the places of
    the rows among the values, where these are of more people. Means and deviations of people's columns are put
    ``into`` the arrays given (clusters,) and (rows,).

    The mean of equal values is that value exactly, and deviations that are rounding beside the size of the column are 0
    exactly, so that whatever is constant in a cluster or a trial has no sum of squares there.
    """
    individual, trials = level == "participant", rows.index.trials
    others = np.empty((0, len(rows.rows))) if others is None else others
    if individual and (core := compiled()) is not None:  # here and nowhere else simtrial/core/columns.c takes over
        means, deviation = (np.empty(len(rows.cluster)), np.empty(len(rows.rows))) if into is None else into
        center = np.zeros(trials)
        beyond, products = np.zeros(trials, dtype=bool), np.empty((len(others) + 1, len(means)))
        place = NONE if at is None else at
        core.centred(
            *in_order(values), place, rows.members, rows.cluster_trial, *in_order(others), measured, ROUNDING,
            SMALLEST, LARGEST, means, deviation, center, beyond, products,
        )  # fmt: skip
        return Column(means, (deviation,), center, beyond, products)
    values = values if at is None else values[at]
    trial, first = (rows.trial, rows.first_row) if individual else (rows.cluster_trial, rows.first_cluster)
    values, size, beyond = in_range(values, trial, trials, first)
    means, shift, inner = _by_cluster(rows, values, size) if individual else (values, None, ())
    center = np.zeros(trials)
    if measured:
        trial, first = rows.cluster_trial, rows.first_cluster
        size = largest_by(means, trial, trials, first) if individual else size
        means, center = less_mean(means, trial, size, rows.counts, rows.sizes, shift, first)
    elif shift is not None:
        means = means + shift
    multiplied = [deviation * other for deviation in inner for other in (*others, deviation)]
    products = np.array([sum_by(each, rows.cluster_of_row, len(means)) for each in multiplied])
    if into is not None:
        into[0][:], into[1][:] = means, inner[0]
        means, inner = into[0], into[1:]
    return Column(means, inner, center, beyond, products)


def as_it_is(rows: AnalysisSet, values: Floats) -> Column:
    """An indicator given per cluster, which stays what it is."""
    trials = rows.index.trials
    return Column(values, (), np.zeros(trials), np.zeros(trials, dtype=bool), np.empty((0, len(values))))


def in_range(values: Floats, trial: Ints, trials: int, first: Ints | None = None) -> tuple[Floats, Floats, Bools]:
    """Values, 0 in trials that cannot be computed with; largest absolute values, and which trials these are.

    ``first`` is the first row of every trial that has one, if it is known already.
    """
    size = largest_by(values, trial, trials, first)
    beyond = ~computable(size)
    if beyond.any():
        values, size = np.where(beyond[trial], 0.0, values), np.where(beyond, 0.0, size)
    return values, size, beyond


def _by_cluster(rows: AnalysisSet, values: Floats, size: Floats) -> tuple[Floats, Floats, tuple[Floats, ...]]:
    """First value of every cluster, cluster mean less that value (clusters,), and deviations from the mean (rows,).

    ``size`` (trials,) are the largest absolute values.
    """
    anchor = values[rows.cluster_start]
    deviation = values - rows.spread(anchor)
    doubtful = np.flatnonzero((np.abs(deviation) <= ROUNDING * size.max(initial=0.0)) & (deviation != 0.0))
    deviation[doubtful] = without_rounding(deviation[doubtful], size[rows.trial[doubtful]])
    shift = sum_by(deviation, rows.cluster_of_row, len(anchor)) / rows.sizes
    deviation -= rows.spread(shift)
    return anchor, shift, (deviation,)


def less_mean(
    values: Floats, trial: Ints, size: Floats, counts: Floats, weight: Floats | None = None,
    shift: Floats | None = None, first: Ints | None = None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Values less the mean of their trial, rounding taken for 0, and the means (trials,).

    Parameters
    ----------
    values, trial
        (rows,), rows of a trial together.
    size, counts
        Largest absolute value, and number of rows or sum of ``weight`` (trials,).
    shift
        To be added to the values (rows,), small beside them: apart, so that it keeps its digits.
    first
        First row of every trial that has one, if it is known already.
    """
    anchor = first_by(values, trial, len(counts), first)  # the mean is taken about it: exact where all values are equal
    deviation = values - anchor[trial]
    if shift is not None:
        deviation = deviation + shift
    total = sum_by(deviation if weight is None else deviation * weight, trial, len(counts))
    mean = total / np.maximum(counts, 1.0)
    return without_rounding(deviation - mean[trial], size[trial]), anchor + mean


def within_with(rows: AnalysisSet, within: Floats, inner: tuple[Floats, ...], added: Column) -> Floats:
    """Cross-products of deviations per cluster with one more column (V + 1, V + 1, clusters)."""
    old, clusters = len(within), len(rows.cluster)
    out = np.empty((old + 1, old + 1, clusters))
    out[:old, :old], out[old, old] = within, added.products[-1]
    if len(added.products) == old + 1:
        out[:old, old] = out[old, :old] = added.products[:old]
        return out
    for at, other in enumerate(inner):
        out[at, old] = out[old, at] = sum_by(other * added.inner[0], rows.cluster_of_row, clusters)
    return out
