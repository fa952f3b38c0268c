"""Products of columns from cluster means and deviations: over clusters of one size in a trial, and over all of it."""

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
    place = places(varying, columns)
    packed = columns * (columns + 1) // 2
    core, pooled = compiled(), np.empty((packed, trials))
    together = np.empty((trials, slots, packed))  # those of a trial, as the compiled kernels go through them
    between = np.empty((slots, packed, trials)) if core is None else together.transpose(1, 2, 0)
    if before is not None:
        between[:, :old], pooled[:old] = before
    if core is not None:  # here and nowhere else simtrial/core/slot_sums.c takes over
        groups = (np.ascontiguousarray(group, np.int64) for group in (slot, trial))
        core.slot_products(*in_order(means, within), place, *groups, first, together, pooled)
        return between, pooled
    key = slot * trials + trial
    for k, (i, j) in enumerate(zip(*pairs(columns), strict=True)):
        if k < old:
            continue
        between[:, k] = sum_by(means[i] * means[j], key, slots * trials).reshape(slots, trials)
        inside = place[i] >= 0 and place[j] >= 0
        pooled[k] = sum_by(within[place[i], place[j]], trial, trials) if inside else 0.0
    return between, pooled


def gram(
    means: Floats, within: Floats, varying: Sequence[int], sizes: Floats, trial: Ints, place: Ints, most: int,
    trials: int, before: Floats | None = None,
) -> Floats:  # fmt: skip
    """Cross-products of all columns over the rows of a trial (q, q, trials).

    Parameters
    ----------
    means, within, varying
        As of `slot_products`.
    sizes, trial, place, most
        Rows and trial of every cluster (clusters,), and its place among those of all trials, ``most`` in each.
    before
        The same of all columns but the last, if they are there already: these are taken over.
    """
    q, first = len(means), 0 if before is None else len(means) - 1
    total = np.empty((q, q, trials))
    if before is not None:
        total[:first, :first] = before
    own = places(varying, q)
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/gram.c takes over
        core.gram(*in_order(means, within), own, sizes, np.ascontiguousarray(trial, np.int64), first, total)
        return total
    flat = np.zeros((trials * most, q))
    flat[place] = (np.sqrt(sizes) * means).T
    laid_out = flat.reshape(trials, most, q)
    total[first:] = (laid_out[..., first:].transpose(0, 2, 1) @ laid_out).transpose(1, 2, 0)
    for j in (j for j in varying if j >= first):
        for i in (i for i in varying if i <= j):
            total[j, i] += sum_by(within[own[i], own[j]], trial, trials)
    for j in range(first, q):
        total[:j, j] = total[j, :j]
    return total


def places(varying: Sequence[int], columns: int) -> Ints:
    """Place of each column among those that vary within clusters, or -1 (columns,)."""
    place = np.full(columns, -1, dtype=np.int64)
    place[list(varying)] = range(len(varying))
    return place
