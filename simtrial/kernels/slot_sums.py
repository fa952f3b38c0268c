"""Products of cluster means summed over clusters of one size in a trial, and of deviations over all clusters."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simtrial.arrays import Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.segments import sum_by
from simtrial.kernels.small_matrices import pairs


def slot_products(
    means: Floats, within: Floats, varying: Sequence[int], slot: Ints, trial: Ints, slots: int, trials: int,
    before: tuple[Floats, Floats] | None = None,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Packed products of all pairs of columns.

    Parameters
    ----------
    means
        Cluster means (q, clusters).
    within, varying
        Cross-products of deviations from them (V, V, clusters), and whose they are (V,).
    slot, trial
        Slot and trial of every cluster (clusters,), of so many ``slots`` and ``trials``; trials in order.
    before
        The same of all columns but the last, if they are there already: these are taken over.

    Returns
    -------
    between, pooled
        (slots, pairs, trials) and (pairs, trials).
    """
    columns = len(means)
    first, old = (0, 0) if before is None else (columns - 1, before[0].shape[1])
    place = np.full(columns, -1, dtype=np.int64)
    place[list(varying)] = range(len(varying))
    packed = columns * (columns + 1) // 2
    between, pooled = np.empty((slots, packed, trials)), np.empty((packed, trials))
    if before is not None:
        between[:, :old], pooled[:old] = before
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/slot_sums.c takes over
        groups = (np.ascontiguousarray(group, np.int64) for group in (slot, trial))
        core.slot_products(*in_order(means, within), place, *groups, first, between, pooled)
        return between, pooled
    key = slot * trials + trial
    for k, (i, j) in enumerate(zip(*pairs(columns), strict=True)):
        if k < old:
            continue
        between[:, k] = sum_by(means[i] * means[j], key, slots * trials).reshape(slots, trials)
        inside = place[i] >= 0 and place[j] >= 0
        pooled[k] = sum_by(within[place[i], place[j]], trial, trials) if inside else 0.0
    return between, pooled
