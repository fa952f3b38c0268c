"""Where to start on the way to the optimum of the two-visit model; its parameters, roots of E and U, packed.

The criterion may have several minima, most of all where practices are few or differ much in size. Starts are one
scoring step from no practice variance and every local minimum of a grid that follows from the sizes; in such trials
also directions in which practices vary along one combination of the visits alone.
"""

from __future__ import annotations

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.core import compiled
from simtrial.kernels.two_visits_criterion import Evaluation, VisitSums, evaluate, expected_curvature, times, value

_CORRELATIONS = (-0.9, 0.0, 0.9)
_FEW = 12  # practices below which the criterion is looked at more closely
_ANGLES = 24
_UNEVEN = 5.0  # times the mean size
_LARGEST = 4  # practices whose own valley is looked into
_APART = 8.0  # ratio of neighbouring practice variances to start from
_LEAST = 0.02  # eigenvalue of a covariance to start from


def roots(x: Floats) -> tuple[Floats, Floats]:
    """A and B (2, 2, trials) of packed roots (trials, 6)."""
    full = x[:, [0, 1, 1, 2, 3, 4, 4, 5]].T.reshape(2, 2, 2, -1)
    return full[0], full[1]


def squares(x: Floats) -> tuple[Floats, Floats]:
    """E = A A and U = B B (2, 2, trials) of packed roots (trials, 6)."""
    a, b = roots(x)
    return times(a, a), times(b, b)


def evaluate_at(sums: VisitSums, x: Floats, reml: bool) -> Evaluation:
    """Criterion and derivatives at packed roots (trials, 6)."""
    a, b = roots(x)
    return evaluate(sums, times(a, a), b, reml)


def starts_of(sums: VisitSums, free: Bools, reml: bool) -> tuple[Ints, Floats]:
    """Where to start: trials, once or more, and packed roots (starts, 6).

    One scoring step from no practice variance, and every local minimum of a grid of U_aa / E_aa, which follows from the
    sizes of the practices, and of the correlation of practice effects.
    """
    trials = len(sums.counts)
    whole = _whole(sums, reml)
    first = _scored(sums, whole, free, reml)
    several = np.flatnonzero(free[:, 5])
    if not len(several):
        return np.arange(trials), first
    own, part = sums.take(several), whole[:, :, several]
    grid = _grid(own)
    axis = range(len(grid))
    points = [(r, g, h) for r in _CORRELATIONS for g in axis for h in axis]
    starts = np.stack([_point(part, grid[g], grid[h], r) for r, g, h in points])
    values = _values(own, starts, reml)
    at, who = np.nonzero(_lowest(values.reshape(len(_CORRELATIONS), len(grid), len(grid), -1)))
    return np.concatenate([np.arange(trials), several[who]]), np.concatenate([first, starts[at, who]])


def _values(sums: VisitSums, x: Floats, reml: bool) -> Floats:
    """Criterion at packed roots (points, trials, 6), NaN where rounding leaves no positive definite sum."""
    if kernels := compiled():
        out = np.empty(x.shape[:2])
        kernels.values_of_visits(*sums.arrays, np.ascontiguousarray(x), reml, out)
        return out
    with np.errstate(all="ignore"):
        return np.stack([value(sums, times(a, a), b, reml) for a, b in map(roots, x)])


def doubtful(sums: VisitSums) -> Bools:
    """Whether practices are few, or one is much larger than they are on average (trials,): minima may lie close."""
    people = sums.counts.sum(axis=1)
    practices = (people > 0).sum(axis=-1)
    return np.asarray((practices < _FEW) | (people.max(axis=-1) * practices > _UNEVEN * people.sum(axis=-1)))


@np.errstate(invalid="ignore")  # no square root where rounding leaves a fit that is not positive definite
def around(sums: VisitSums, trials: Ints, found: Floats, reml: bool) -> tuple[Ints, Floats]:
    """Further starts of some trials: singular U as large as found, along directions in the plane of the visits.

    The combination of visits that a singular U leaves out varies by E / n_j only, so that every large practice has a
    narrow valley of its own, along its mean residuals. Beside these, directions all round that no neighbour undercuts.
    """
    own, (e, u) = sums.take(trials), squares(found[trials])
    visits = own.counts[:, :1] + own.counts[:, 1:]
    means = (own.sums[:, :2, :, -1] + own.sums[:, 2:, :, -1]) / np.maximum(visits, 1.0)
    order = np.argsort(-own.counts.sum(axis=1), axis=-1)[:, :_LARGEST]
    angles = np.arange(_ANGLES) * np.pi / _ANGLES
    turned = [np.array([[np.cos(t)], [np.sin(t)]]) * np.ones(len(trials)) for t in angles]
    largest = [np.take_along_axis(means, place[:, None, None], axis=-1)[..., 0].T for place in order.T]
    size = np.einsum("aat->t", u) + 1e-6 * np.einsum("aat->t", e)
    starts = []
    for along in (*turned, *largest):
        length = (along**2).sum(axis=0)
        shape = along[:, None] * along / np.where(length > 0.0, length, 1.0)
        starts.append(_packed(root_of(e), root_of(size * shape + 1e-6 * e)))
    values = _values(own, np.stack(starts[:_ANGLES]), reml)
    low = (values < np.roll(values, 1, axis=0)) & (values <= np.roll(values, -1, axis=0))
    at, who = np.nonzero(np.concatenate([low, np.ones((len(largest), len(trials)), dtype=bool)]))
    return trials[who], np.stack(starts)[at, who]


def _lowest(values: Floats) -> Bools:
    """Points of a grid of three dimensions that no neighbour undercuts (points, trials)."""
    low = np.ones(values.shape, dtype=bool)
    for axis in range(3):
        turned, mark = np.moveaxis(values, axis, 0), np.moveaxis(low, axis, 0)
        mark[1:] &= turned[1:] < turned[:-1]  # of two that are equal the first
        mark[:-1] &= turned[:-1] <= turned[1:]
    return low.reshape(-1, values.shape[-1])


def _whole(sums: VisitSums, reml: bool) -> Floats:
    """Residual covariance of those with both visits, kept well inside (2, 2, trials)."""
    identity = np.zeros((len(sums.counts), 6))
    identity[:, [0, 2]] = 1.0
    total = np.maximum(sums.counts[:, 0].sum(axis=-1), 1.0)
    return _inside(evaluate_at(sums, identity, reml).rest / total, 0.05)


def _grid(sums: VisitSums) -> Floats:
    """Ratios of practice to residual variance to start from (points, trials): from half of 1 / max n_j to 30."""
    largest = np.maximum(sums.counts.sum(axis=1).max(axis=-1), 2.0)
    points = np.ceil(np.log(60.0 * largest) / np.log(_APART))  # steps of a trial; then the last again
    steps = np.minimum(np.arange(points.max(initial=0.0) + 1.0)[:, None] / points, 1.0)
    return np.asarray(0.5 / largest * (60.0 * largest) ** steps)


def _point(whole: Floats, g: Floats, h: Floats, correlation: float) -> Floats:
    """Packed roots at which U_00 = g E_00, U_11 = h E_11 and both are a share of the whole (trials, 6)."""
    least = 1.0 / np.sqrt(1.0 + np.stack([g, h]))
    e = whole * least[:, None] * least
    rate = np.sqrt(np.stack([g, h]))
    u = e * rate[:, None] * rate
    u[0, 1] = u[1, 0] = correlation * np.sqrt(u[0, 0] * u[1, 1])
    return _packed(root_of(e), root_of(u))


def _packed(a: Floats, b: Floats) -> Floats:
    return np.stack([r[i, j] for r in (a, b) for i, j in ((0, 0), (0, 1), (1, 1))], axis=1)


def _scored(sums: VisitSums, whole: Floats, free: Bools, reml: bool) -> Floats:
    """One scoring step from no practice variance, kept well inside (trials, 6)."""
    trials, none = len(sums.counts), np.zeros_like(whole)
    at = evaluate(sums, whole, none, reml)
    curvature = expected_curvature(sums, whole, at)
    slope = np.stack([s * f for g in at.slopes for s, f in zip((g[0, 0], g[0, 1], g[1, 1]), (1, 2, 1), strict=True)])
    within = ~free[:, 5]
    curvature[within, 3:] = curvature[within, :, 3:] = 0.0
    slope[3:, within] = 0.0
    curvature += (1e-8 * np.einsum("tii->t", curvature))[:, None, None] * np.eye(6)
    step = -np.linalg.solve(curvature, slope.T[..., None])[..., 0].T
    moves = step[[0, 1, 1, 2, 3, 4, 4, 5]].reshape(2, 2, 2, trials)
    e, u = (root_of(_inside(value, _LEAST)) for value in (whole + moves[0], moves[1]))
    return _packed(e, u) * free


def _inside(matrix: Floats, least: float) -> Floats:
    """Symmetric 2 x 2 matrices with eigenvalues raised to ``least``."""
    middle = 0.5 * (matrix[0, 0] + matrix[1, 1])
    half = np.hypot(0.5 * (matrix[0, 0] - matrix[1, 1]), matrix[0, 1])
    high, low = np.maximum(middle + half, least), np.maximum(middle - half, least)
    slope = np.where(half > 0.0, (high - low) / np.where(half > 0.0, 2.0 * half, 1.0), 0.0)
    return np.asarray(slope * matrix + (low - slope * (middle - half)) * np.eye(2)[:, :, None])


def root_of(matrix: Floats) -> Floats:
    """Symmetric square roots of positive definite 2 x 2 matrices along the first two axes."""
    d = np.sqrt(matrix[0, 0] * matrix[1, 1] - matrix[0, 1] ** 2)
    return np.asarray((matrix + d * np.eye(2)[:, :, None]) / np.sqrt(matrix[0, 0] + matrix[1, 1] + 2.0 * d))
