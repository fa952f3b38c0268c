"""Products of cluster means summed over clusters of one size in a trial, and of deviations over all clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.segments import sum_by
from simtrial.kernels.small_matrices import pairs


def slot_products(
    means: Floats, within: Floats, varying: Sequence[int], slot: Ints, trial: Ints, slots: int, trials: int, first: int
) -> tuple[Floats, Floats]:
    """Packed products of columns ``first`` onwards with all before them.

    Parameters
    ----------
    means
        Cluster means (q, clusters).
    within, varying
        Cross-products of deviations from them (V, V, clusters), and whose they are (V,).
    slot, trial
        Slot and trial of every cluster (clusters,), of so many ``slots`` and ``trials``.

    Returns
    -------
    between, pooled
        (slots, pairs, trials) and (pairs, trials).
    """
    place = np.full(len(means), -1, dtype=np.int64)
    place[list(varying)] = range(len(varying))
    new = [(i, j) for i, j in zip(*pairs(len(means)), strict=True) if j >= first]
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/slot_sums.c takes over
        between, pooled = np.zeros((slots, len(new), trials)), np.zeros((len(new), trials))
        groups = (np.ascontiguousarray(group, np.int64) for group in (slot, trial))
        core.slot_products(*in_order(means, within), place, *groups, first, between, pooled)
        return between, pooled
    key = slot * trials + trial
    between, pooled = np.empty((slots, len(new), trials)), np.zeros((len(new), trials))
    for k, (i, j) in enumerate(new):
        between[:, k] = sum_by(means[i] * means[j], key, slots * trials).reshape(slots, trials)
        if place[i] >= 0 and place[j] >= 0:
            pooled[k] = sum_by(within[place[i], place[j]], trial, trials)
    return between, pooled
