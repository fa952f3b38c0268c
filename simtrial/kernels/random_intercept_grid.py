"""The random-intercept criterion on a grid of gamma common to all trials, and what X alone decides of it."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from simtrial.arrays import Floats
from simtrial.core import compiled
from simtrial.kernels.random_intercept_criterion import SizeSums, logarithm
from simtrial.kernels.small_matrices import eliminate, unpack


def profile(sums: SizeSums, grid: Floats, nu: Floats, reml: bool) -> Floats:
    """F on a grid of gamma common to all trials: (points, trials)."""
    rss, logs, log_determinant = grid_parts(sums, grid)
    return np.asarray(0.5 * (nu * logarithm(rss) + logs + (log_determinant if reml else 0.0)))


@dataclass(frozen=True)
class XGrid:
    """What `grid_parts` makes of X alone: multipliers of its elimination, pivots, and both terms beside q.

    ``ratios`` (p, p, points, trials), above the diagonal; ``pivots`` (p, points, trials); ``logs`` and
    ``log_determinant`` (points, trials).
    """

    ratios: Floats
    pivots: Floats
    logs: Floats
    log_determinant: Floats


@dataclass(frozen=True)
class XGrids:
    """What was made of one X, by the grid; where only outcomes change, of trials completed many times, it is made once.

    ``compiled`` is what the compiled kernel keeps, tile by tile.
    """

    grids: dict[bytes, XGrid] = field(default_factory=dict)
    compiled: dict[bytes, Floats] = field(default_factory=dict)


def grid_parts(sums: SizeSums, grid: Floats, known: XGrids | None = None) -> tuple[Floats, Floats, Floats]:
    """q, sum log(1 + n gamma) and log|C| on a grid of gamma common to all trials: each (points, trials).

    ``known`` are parts of the same X, to which those of this grid are added.
    """
    if (core := compiled()) is not None:  # here and nowhere else simtrial/core/random_intercept_grid.c takes over
        found = np.empty((3, len(grid), len(sums.rows)))
        core.grid_parts(*sums.plain, np.ascontiguousarray(grid, np.float64), *found)
        return found[0], found[1], found[2]
    if known is not None:
        key = grid.tobytes()
        if key not in known.grids:
            known.grids[key] = _x_grid(sums, grid)
        own = known.grids[key]
        return _rest(sums, grid, own), own.logs, own.log_determinant
    p = sums.regressors
    total, shrink = _on_grid(sums, grid, 0)
    pivots, rest = eliminate(unpack(total.transpose(1, 0, 2), p + 1), p)
    return rest[0, 0], _logs(sums, shrink), _log_determinant(pivots)


def _on_grid(sums: SizeSums, grid: Floats, first: int) -> tuple[Floats, Floats]:
    """Packed M from the entry ``first`` onwards (points, K - first, trials), and 1 / (1 + n gamma)."""
    shrink = 1.0 / (1.0 + sums.sizes[None] * grid[:, None, None])
    a = sums.sizes[None] * shrink
    between, within = sums.between[:, first:], sums.within[first:]
    slots, packed, trials = between.shape
    if sums.sizes.shape[1] == 1:
        flat = a[:, :, 0] @ between.reshape(slots, packed * trials)
        return flat.reshape(len(grid), packed, trials) + within, shrink
    return np.einsum("gsr,skr->gkr", a, between) + within, shrink


def _logs(sums: SizeSums, shrink: Floats) -> Floats:
    weights = np.broadcast_to(np.log(shrink), (len(shrink), *sums.counts.shape))
    return np.asarray(-np.einsum("sr,gsr->gr", sums.counts, weights))


def _log_determinant(pivots: Floats) -> Floats:
    # a pivot below 0 is rounding, as far out as practices weigh nothing beside their people: no minimum is sought there
    return np.asarray(np.log(np.where(pivots > 0.0, pivots, np.inf)).sum(axis=0))


def _x_grid(sums: SizeSums, grid: Floats) -> XGrid:
    """Eliminate X on a grid."""
    p = sums.regressors
    total, shrink = _on_grid(sums, grid, 0)
    work = unpack(total[:, : p * (p + 1) // 2].transpose(1, 0, 2), p)
    ratios, pivots = np.zeros_like(work), np.empty((p, *work.shape[2:]))
    for k in range(p):
        pivots[k] = work[k, k]
        ratios[k, k + 1 :] = work[k, k + 1 :] / pivots[k]
        for i in range(k + 1, p):
            work[i, i:] -= ratios[k, i] * work[k, i:]
    return XGrid(ratios, pivots, _logs(sums, shrink), _log_determinant(pivots))


def _rest(sums: SizeSums, grid: Floats, own: XGrid) -> Floats:
    """Q on a grid (points, trials): of the elimination only the column of the outcome."""
    p = sums.regressors
    column = np.ascontiguousarray(_on_grid(sums, grid, p * (p + 1) // 2)[0].transpose(1, 0, 2))
    for k in range(p):
        column[k + 1 : p] -= own.ratios[k, k + 1 :] * column[k]
        column[p] -= column[k] / own.pivots[k] * column[k]
    return np.asarray(column[p])
