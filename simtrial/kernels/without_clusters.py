"""Sums of trials less one of their clusters, as fits that leave each of them out in turn take them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from types import ModuleType

import numpy as np

from simtrial.arrays import Bools, Floats, Ints, in_order
from simtrial.core import compiled
from simtrial.kernels.random_intercept_criterion import SizeSums
from simtrial.kernels.rounding import ROUNDING
from simtrial.kernels.slot_sums import places
from simtrial.kernels.small_matrices import ALIASED, independent, pairs


def without_clusters(
    sums: SizeSums, means: Floats, within: Floats, varying: Sequence[int], slot: Ints, sizes: Floats, trial: Ints,
    chosen: Ints,
) -> tuple[SizeSums, Bools]:  # fmt: skip
    """Take one cluster from the sums of its trial, and leave out the columns that no longer vary without it.

    Parameters
    ----------
    sums
        Of whole trials.
    means, within, varying, slot
        As of `simtrial.kernels.slot_sums.slot_products`, of all clusters; ``sizes`` are their rows (clusters,).
    trial, chosen
        Which trial of ``sums``, and which cluster to take from it (fits,).

    Returns
    -------
    left, gone
        The sums of every fit, and whether a column was left out (fits,).
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/without_clusters.c takes over
        return _compiled(core, sums, means, within, varying, slot, sizes, trial, chosen)
    whole, rows, columns = sums.take(trial), *pairs(sums.regressors + 1)
    fits, z = len(chosen), means[:, chosen]
    full = whole.products(np.zeros(fits))
    counts, between, inside = whole.counts.copy(), whole.between.copy(), whole.within.copy()
    counts[slot[chosen], np.arange(fits)] -= 1.0
    between[slot[chosen], :, np.arange(fits)] -= (z[rows] * z[columns]).T
    place = places(varying, len(means))
    for k, (i, j) in enumerate(zip(rows, columns, strict=True)):
        if place[i] >= 0 and place[j] >= 0:
            inside[k] -= within[place[i], place[j]][chosen]
    own = np.flatnonzero(rows == columns)
    flat = inside[own] <= ROUNDING * whole.within[own]  # a difference that is rounding of what it was taken from
    inside = np.where(flat[rows] | flat[columns], 0.0, inside)
    left = replace(whole, counts=counts, between=between, within=inside, rows=whole.rows - sizes[chosen])
    p, diagonal = sums.regressors, np.arange(sums.regressors)
    drop = ~independent(left.products(np.zeros(fits))[:p, :p], full[diagonal, diagonal])
    either = np.concatenate([drop, np.zeros((1, fits), dtype=bool)])
    gone = either[rows] | either[columns]
    left = replace(
        left, between=np.where(gone, 0.0, between), within=np.where(gone, (rows == columns)[:, None] * 1.0, inside),
        dropped=np.maximum(whole.dropped, drop), rank=whole.rank - drop.sum(axis=0),
    )  # fmt: skip
    return left, np.asarray(drop.any(axis=0))


def _compiled(
    core: ModuleType, sums: SizeSums, means: Floats, within: Floats, varying: Sequence[int], slot: Ints, sizes: Floats,
    trial: Ints, chosen: Ints,
) -> tuple[SizeSums, Bools]:  # fmt: skip
    """The same by the compiled kernel."""
    fits, (slots, packed, _), p = len(chosen), sums.between.shape, sums.regressors
    together = np.empty((fits, slots, packed))
    counts, inside, dropped = np.empty((slots, fits)), np.empty((packed, fits)), np.empty((p, fits))
    rank, rows, gone = np.empty(fits), np.empty(fits), np.empty(fits, dtype=bool)
    groups = [np.ascontiguousarray(group, np.int64) for group in (slot, trial, chosen)]
    core.without_clusters(
        *sums.plain, *in_order(sums.dropped, sums.rank, sums.rows, means, within), places(varying, len(means)),
        groups[0], *in_order(sizes), *groups[1:], ROUNDING, ALIASED,
        counts, together.reshape(-1, packed), inside, dropped, rank, rows, gone,
    )  # fmt: skip
    alike = sums.sizes.shape[1] == 1
    left = SizeSums(
        sizes=sums.sizes if alike else sums.sizes[:, trial], counts=counts, between=together.transpose(1, 2, 0),
        within=inside, regressors=p, rows=rows, rank=rank, dropped=dropped,
    )  # fmt: skip
    return left, gone
