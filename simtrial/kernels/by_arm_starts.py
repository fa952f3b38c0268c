"""Where the search for variances by arm starts: minima of a grid that follows from the sizes, and corners."""

from __future__ import annotations

from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.core import compiled
from simtrial.kernels.by_arm_criterion import ArmSums, value

By = Literal["residual", "cluster", "both"]
TIED = {
    "residual": np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1]]),
    "cluster": np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "both": np.eye(4),
}
"""Which parameter (columns; residual variances first) each of (s_0, s_1, t_0, t_1) is."""
RESIDUALS = {"residual": 2, "cluster": 1, "both": 2}
_FEW, _LEFT = 12, 9  # practices, and how many more than coefficients, below which starts lie closer together


class Grid(NamedTuple):
    """Where to start: ratio of neighbouring t_a / s_a, the largest, and roots of what s_1 / s_0 is multiplied by."""

    apart: float
    most: float
    unlike: tuple[float, ...]


COARSE, FINE = Grid(4.0, 2.0, (1.0,)), Grid(2.5, 40.0, (0.3, 0.55, 1.0, 1.8, 3.3))


def starts_of(sums: ArmSums, by: By, reml: bool, scale: Floats, held: Bools) -> tuple[Floats, Ints]:
    """Starts (k, starts), residual variances as logarithms, all in units of ``scale``; and their trials."""
    practices = sums.clusters.sum(axis=0)
    few = np.flatnonzero((practices < _FEW) | (practices - sums.rank < _LEFT))
    parts = [_starts(sums, by, reml, scale, held, COARSE)]
    if len(few):
        starts, place = _starts(sums.take(few), by, reml, scale[few], held[:, few], FINE)
        parts += [(starts, few[place]), _corners(by, held[:, few], few)]
    return np.concatenate([s for s, _ in parts], axis=1), np.concatenate([w for _, w in parts])


def _grid(sums: ArmSums, grid: Grid) -> Floats:
    """Ratios t_a / s_a to start from (points, arms, trials): 0, and from half of 1 / max n_j on."""
    largest = np.where(sums.counts > 0, sums.sizes, 1.0).max(axis=-1)
    points = np.ceil(np.log(2.0 * grid.most * largest) / np.log(grid.apart))  # steps of an arm; then the last again
    steps = np.minimum(np.arange(points.max(initial=0.0) + 1.0)[:, None, None] / points, 1.0)
    ratios = 0.5 / largest * (2.0 * grid.most * largest) ** steps
    return np.concatenate([np.zeros_like(ratios[:1]), ratios])


def _starts(sums: ArmSums, by: By, reml: bool, scale: Floats, held: Bools, grid: Grid) -> tuple[Floats, Ints]:
    """Local minima of the criterion on a grid of t_a / s_a, s_a from least squares (k, starts), and their trials."""
    ratios, shares = _grid(sums, grid), sums.people / sums.people.sum(axis=0)
    left = np.empty(ratios.shape)  # r'H_a^-1 r of each arm, r the residuals of least squares
    for arm in range(2):
        n, yy = sums.sizes[arm], sums.between[arm, :, -1]
        for at, gamma in enumerate(ratios[:, arm]):
            left[at, arm] = (yy * n / (1.0 + n * gamma[:, None])).sum(axis=1) + sums.within[arm, :, -1]
    arms = np.maximum(left / ((sums.people.sum(axis=0) - sums.rank) * shares), 0.02 * scale)
    starts, thetas = [], []
    for unlike, g, h in product(grid.unlike, range(len(ratios)), range(len(ratios))):
        s = np.stack([arms[g, 0] / unlike, arms[h, 1] * (unlike if by != "cluster" else 1.0 / unlike)])
        common = (s * shares).sum(axis=0)
        s = np.stack([common, common]) if by == "cluster" else s
        t = np.stack([ratios[g, 0] * s[0], ratios[h, 1] * s[1]])
        if by == "residual":
            t = (t * shares).sum(axis=0, keepdims=True)
        chosen = np.concatenate([s[: RESIDUALS[by]], t]) * ~held
        thetas.append(TIED[by] @ chosen)
        chosen[: RESIDUALS[by]] = np.log(chosen[: RESIDUALS[by]] / scale)
        chosen[RESIDUALS[by] :] /= scale
        starts.append(chosen)
    shape = (len(grid.unlike), len(ratios), len(ratios), len(scale))
    rows, who = np.nonzero(_lowest(_values(sums, np.stack(thetas), reml).reshape(shape)).reshape(-1, len(scale)))
    return np.stack(starts, axis=1)[:, rows, who], who


def _values(sums: ArmSums, thetas: Floats, reml: bool) -> Floats:
    """Criterion at variances (points, 4, trials)."""
    if kernels := compiled():
        out = np.empty((len(thetas), thetas.shape[2]))
        kernels.values_of_arms(*sums.arrays, thetas, reml, out)
        return out
    return np.stack([value(sums, theta, reml) for theta in thetas])


def _corners(by: By, held: Bools, trials: Ints) -> tuple[Floats, Ints]:
    """Starts (k, starts) with every variance either most or little of the whole, and their trials."""
    count, starts = RESIDUALS[by], []
    for shares in product((0.03, 0.5), repeat=count):
        for between in product((0.0, 0.7, 7.0), repeat=len(held) - count):
            chosen = np.array([*np.log(shares), *between])[:, None]
            starts.append(np.where(held, 0.0, chosen))
    return np.concatenate(starts, axis=1), np.tile(trials, len(starts))


def _lowest(values: Floats) -> Bools:
    """Points of the grid that no neighbour undercuts, trials last."""
    low = np.ones(values.shape, dtype=bool)
    for axis in range(values.ndim - 1):
        turned, mark = np.moveaxis(values, axis, 0), np.moveaxis(low, axis, 0)
        mark[1:] &= turned[1:] < turned[:-1]  # of two that are equal the first
        mark[:-1] &= turned[:-1] <= turned[1:]
    return low
