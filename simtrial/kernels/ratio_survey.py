"""Which stretches of the variance ratio can hold a minimum of the random-intercept criterion, from values on a grid.

Let lambda_i be the positive eigenvalues of K'ZZ'K, K an orthonormal basis of the residuals (of ZZ' under ML). The
criterion of `simtrial.kernels.random_intercept_criterion` is f = F / 2 up to a constant, with

    F = nu log q + D,   q = w + sum_i c_i / (1 + lambda_i gamma),   D = sum_i log(1 + lambda_i gamma),   w, c_i >= 0

(Crainiceanu and Ruppert 2004, doi:10.1111/j.1467-9868.2004.00438.x). No lambda_i exceeds the largest cluster. On the
scale t = log(gamma + shift) with shift <= 1 / max n_j every term is logistic in t, hence, for all k >= 1 and gamma
above -shift,

    |d^k q / dt^k| <= B = -dq/dt,   |d^(k+1) D / dt^(k+1)| <= D'',   |d log B / dt| <= 1,   |d log D'' / dt| <= 1.

These bound the fourth derivative of F, and so how far second differences lie from F'', and differences from F'. A cell
of the grid in which F' has one sign, or in which F stays above a value reached elsewhere, holds no minimum that
matters; one in which F'' > 0 holds one at most. The grid follows from the sizes of the clusters alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.random_intercept_criterion import SizeSums, logarithm
from simtrial.kernels.random_intercept_grid import XGrids, grid_parts

CAP = 1e14
"""Largest gamma: beyond it clusters differ in weight by less than rounding, 1 / (gamma + 1 / n_j)."""
ENOUGH = 1e7
"""Of gamma times the largest cluster, from where on weights are equal to seven digits."""
STEP = 0.27
_CACHED = 32_000  # numbers that are worked on at a time: smaller blocks stay in the cache
NEAR = 16.0
"""A grid ends where gamma is this over the mean cluster size, or 1 if that is more: see `grid_of`."""
FAR = 100.0 * NEAR
"""The same for the grid of trials that may have a minimum beyond the first."""


@dataclass(frozen=True)
class Survey:
    """What a grid of gamma says of every trial.

    Attributes
    ----------
    shift
        1 / max n_j over all trials, or less.
    nodes
        t of the grid (nodes,); the second is gamma = 0, the first lies below it.
    values
        F (nodes, trials).
    open
        (nodes - 1, trials); cells that may hold a minimum, the first cell (below 0) and the last never among them.
    convex
        (nodes - 1, trials); cells in which F'' > 0 for certain.
    beyond
        (trials,); whether there may be a minimum after the last cell but one.
    """

    shift: float
    nodes: Floats
    values: Floats
    open: Bools
    convex: Bools
    beyond: Bools

    @property
    def one_stretch(self) -> Bools:
        """Whether all that is open is one stretch, and convex: it holds one minimum at most (trials,)."""
        first = self.open[1:] & ~self.open[:-1]
        return np.asarray((~self.open | self.convex).all(axis=0) & (first.sum(axis=0) <= 1) & ~self.beyond)

    def take(self, trials: Ints) -> Survey:
        """What the grid says of some of the trials."""
        return replace(
            self, values=self.values[:, trials], open=self.open[:, trials], convex=self.convex[:, trials],
            beyond=self.beyond[trials],
        )  # fmt: skip

    @property
    def last(self) -> float:
        """Where ``beyond`` begins, on the scale t."""
        return float(self.nodes[-2])


def largest_size(sums: SizeSums) -> Floats:
    """Rows of the largest cluster (trials,)."""
    return np.asarray(np.where(sums.counts > 0, sums.sizes, 1.0).max(axis=0))


def grid_of(sums: SizeSums, reach: float = NEAR) -> tuple[Floats, Floats, float]:
    """Gamma of the nodes and `CAP`, t of the nodes, and the shift between them, from the sizes of clusters alone.

    Of many clusters of n, F at a minimum c lies above nu log q(infinity) by log(1 + nc) + 1 for each, and beyond a
    gamma g by log(1 + ng) or more: (1 + ng) > e (1 + nc) excludes a minimum there. So the grid ends at 16 / n, which
    serves up to nc = 5, or at 1 with more than 16 people a cluster, which serves up to c = 0.33, an intracluster
    correlation of 0.25.
    """
    largest = float(sums.sizes.max())  # of sizes that no trial here has as well: below 0 gamma is safe for all of them
    mean = sums.rows.sum() / sums.counts.sum()
    end = max(reach / mean, reach / NEAR)
    steps = int(np.ceil(np.log1p(end * largest) / STEP)) + 1
    places = STEP * np.arange(-1, steps + 1)
    return np.append(np.expm1(places) / largest, CAP), places - np.log(largest), 1.0 / largest


def survey(sums: SizeSums, nu: Floats, reml: bool, known: XGrids | None = None, reach: float = NEAR) -> Survey:
    """Evaluate the criterion on a grid that follows from the sizes, and clear the cells that hold no minimum.

    ``known`` as of `grid_parts`, ``reach`` of `grid_of`.
    """
    gamma, nodes, shift = grid_of(sums, reach)
    size = max(1, _CACHED // ((sums.regressors + 1) ** 2 * len(nu)))
    parts = [grid_parts(sums, gamma[at : at + size], known) for at in range(0, len(gamma), size)]
    rss, logs, log_determinant = (np.concatenate(part) for part in zip(*parts, strict=True))
    d = logs + log_determinant if reml else logs
    f = nu * logarithm(rss) + d
    far = nu * logarithm(rss[-1]) + d[-3]  # q falls and D rises: F is at least this from the last node but one on
    cells = _cleared(f[:-1], rss[:-1], d[:-1], nu)
    return Survey(shift, nodes, f[:-1], *cells, ~(far > f[1:-1].min(axis=0)))


def _cleared(f: Floats, rss: Floats, d: Floats, nu: Floats) -> tuple[Bools, Bools]:
    """Cells that may hold a minimum, and cells that are convex (nodes - 1, trials); formulas in the head of the file.

    Of four nodes around a cell the inner two have second differences, each within h^2 / 12 of the fourth derivative
    from F'' there, and a straight line through F'' at both within h^2 / 8.
    """
    h, grown = STEP, STEP / -np.expm1(-STEP)  # a maximum over a cell is at most this times the mean
    x = grown / h * np.maximum(rss[:-1] - rss[1:], 0.0) / rss[1:]  # B / q in a cell
    bend, curved = (np.diff(values, 2, axis=0) / h**2 for values in (d, f))
    x = np.maximum(np.maximum(x[:-2], x[1:-1]), x[2:])
    fourth = grown**2 * np.maximum(np.maximum(bend[:-1], bend[1:]), 0.0) + nu * of_logarithm(x, 4)
    doubt = 5.0 / 24.0 * h**2 * fourth
    left, right = curved[:-1], curved[1:]
    most = np.maximum(np.abs(left), np.abs(right)) + doubt  # of |F''| in the cell
    sloped = np.abs(f[2:-1] - f[1:-2]) > 0.5 * h**2 * most
    above = np.minimum(f[1:-2], f[2:-1]) - h**2 / 8.0 * most > f[1:].min(axis=0)
    edge = np.zeros((1, f.shape[1]), dtype=bool)
    cleared = np.concatenate([~edge, sloped | above, ~edge])
    convex = np.concatenate([edge, np.minimum(left, right) > doubt, edge])
    return ~cleared, convex


def of_logarithm(x: Floats, order: int) -> Floats:
    """Bound of the third or fourth derivative of log q by t, where no derivative of q exceeds x q.

    From the moments r_k = q^(k) / q, |r_k| <= x: r3 - 3 r2 r1 + 2 r1^3, and
    r4 - 4 r3 r1 - 3 r2^2 + 12 r2 r1^2 - 6 r1^4.
    """
    if order == 3:
        return np.asarray(x * (1.0 + x * (3.0 + 2.0 * x)))
    return np.asarray(x * (1.0 + x * (7.0 + x * (12.0 + 6.0 * x))))
