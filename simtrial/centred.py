"""Columns of analysed rows less their trial mean, as cluster means and deviations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.design_matrix import AnalysisSet
from simtrial.kernels.segments import sum_by
from simtrial.kernels.symmetric import Floats


@dataclass(frozen=True)
class Column:
    """One centred column: cluster means (clusters,), its values (rows,) if it varies, what was subtracted (trials,)."""

    means: Floats
    inner: tuple[Floats, ...]
    center: Floats


def centred(rows: AnalysisSet, values: Floats, measured: bool, level: str) -> Column:
    """Center a column given per analysed row, or per cluster at practice level; two passes."""
    trials, individual = rows.index.trials, level == "participant"
    center = np.zeros(trials)
    trial = rows.trial if individual else rows.cluster_trial
    weights = None if individual else rows.sizes
    if measured:
        total = sum_by(values if weights is None else values * weights, trial, trials)
        center = total / np.maximum(rows.counts, 1.0)
        values = values - center[trial]
    if not individual:
        return Column(values, (), center)
    means = sum_by(values, rows.cluster_of_row, len(rows.cluster)) / rows.sizes
    return Column(means, (values,), center)


def within_with(rows: AnalysisSet, within: Floats, inner: tuple[Floats, ...], added: Column) -> Floats:
    """Cross-products of deviations per cluster with one more column (V + 1, V + 1, clusters)."""
    old, clusters = len(within), len(rows.cluster)
    out = np.empty((old + 1, old + 1, clusters))
    out[:old, :old] = within
    deviation = added.inner[0] - added.means[rows.cluster_of_row]
    for at in range(old):  # deviations sum to 0 in a cluster, so one of the two factors needs no centring
        out[at, old] = out[old, at] = sum_by(inner[at] * deviation, rows.cluster_of_row, clusters)
    out[old, old] = sum_by(deviation**2, rows.cluster_of_row, clusters)
    return out
