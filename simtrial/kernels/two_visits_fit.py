"""Optimum of the two-visit model over its six variances and covariances, all trials of a block at once.

Newton's method on the roots A and B of E and U. Second derivatives are the expected ones, the exact curvature of the
squares A A and B B, and a symmetric rank-one correction that learns the rest from the change of the slope (structured
quasi-Newton: Dennis, Gay and Welsch 1981, doi:10.1145/355958.355965). Negative eigenvalues are turned positive, so that
saddle points repel; a step that does not lower the criterion is shortened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from simtrial.kernels.symmetric import Floats
from simtrial.kernels.two_visits import BY_PRACTICE, Evaluation, VisitSums, evaluate, expected_curvature, times

Bools = NDArray[np.bool_]
Ints = NDArray[np.intp]
_STEPS = 80
_CLOSE = 1e-18  # decrease of the criterion still promised at which a fit has converged
_LITTLE = 1e-9  # the same after the last step
_LONGEST = 0.5  # of one step, in roots of variances where responses have variance near 1
_ROUNDING = 1e-11  # of the criterion, relative
_FLAT = 1e-6  # least eigenvalue of the second derivatives, as a share of the largest
_ALIKE = 1e-9  # ends that differ by less are one, and the converged one stands for it
_CORRELATIONS = (-0.9, 0.0, 0.9)
_UNEVEN = 5.0  # times the mean size
_LARGEST = 4  # practices whose own valley is looked into
_APART = 5.0  # ratio of neighbouring practice variances to start from
_LEAST = 0.02  # eigenvalue of a covariance to start from


@dataclass(frozen=True)
class Fit:
    """A fitted model: E and U (2, 2, trials), the evaluation there, and where the optimiser converged (trials,)."""

    e: Floats
    u: Floats
    at: Evaluation
    converged: Bools


@dataclass(frozen=True)
class _State:
    """Trials still moving: packed roots (trials, 6), which may move, the evaluation, and second derivatives.

    ``slope`` (trials, 6), ``model`` and ``learnt`` (trials, 6, 6): what is calculated, and what the slopes taught;
    ``length`` (trials,) share of the next step to take.
    """

    sums: VisitSums
    free: Bools
    x: Floats
    at: Evaluation
    slope: Floats
    model: Floats
    learnt: Floats
    length: Floats

    @classmethod
    def of(cls, sums: VisitSums, free: Bools, x: Floats, at: Evaluation, learnt: Floats) -> _State:
        """State at an evaluated point."""
        return cls(sums, free, x, at, _slope(x, at) * free, _model(sums, x, at), learnt, np.ones(len(x)))

    def take(self, trials: Ints) -> _State:
        """Return some of the trials."""
        at, sums = _take(self.at, trials), self.sums.take(trials)
        x, slope, model = self.x[trials], self.slope[trials], self.model[trials]
        return _State(sums, self.free[trials], x, at, slope, model, self.learnt[trials], self.length[trials])


def fit(sums: VisitSums, unclustered: Bools, reml: bool) -> Fit:
    """Minimise the criterion from every start and keep the lowest; where ``unclustered`` (trials,) U is held at 0."""
    trials = len(sums.counts)
    free = np.ones((trials, 6), dtype=bool)
    free[:, 3:] &= ~unclustered[:, None]
    found, lowest, converged = np.empty((trials, 6)), np.full(trials, np.inf), np.zeros(trials, dtype=bool)
    uneven = np.flatnonzero(free[:, 5] & _uneven(sums))
    for look in range(2):
        if look and not len(uneven):
            break
        who, starts = _around(sums, uneven, found) if look else _starts(sums, free, reml)
        x, value, done = _minimised(sums.take(who), free[who], reml, starts)
        value = np.where(np.isfinite(value), value, np.finfo(float).max) + np.where(done, 0.0, _ALIKE)
        order = np.argsort(-value, kind="stable")  # the lowest is written last
        better = order[value[order] < lowest[who[order]]]
        for out, new in ((found, x), (lowest, value), (converged, done)):
            out[who[better]] = new[better]
    e, u = _squares(found)
    with np.errstate(all="ignore"):  # where the criterion falls without end E is singular
        return Fit(e, u, _evaluate(sums, found, reml), converged)


def _minimised(sums: VisitSums, free: Bools, reml: bool, x: Floats) -> tuple[Floats, Floats, Bools]:
    """End of every start (starts, 6), the criterion there, and whether it converged (starts,)."""
    active = np.arange(len(x))
    state = _State.of(sums, free, x, _evaluate(sums, x, reml), np.zeros((len(x), 6, 6)))
    found, ended, converged = x.copy(), state.at.value.copy(), np.zeros(len(x), dtype=bool)
    for _ in range(_STEPS):
        step, promised = _newton(state)
        small = promised < _CLOSE
        found[active] = state.x + np.where(small[:, None], step, 0.0)
        ended[active], converged[active] = state.at.value, small
        if small.all():
            break
        keep = np.flatnonzero(~small)
        if len(keep) < len(active):
            active, state, step, promised = active[keep], state.take(keep), step[keep], promised[keep]
        state = _advance(state, step, promised, reml)
    else:  # rounding, where residuals within practices are small, leaves a little to gain for ever
        found[active], ended[active], converged[active] = state.x, state.at.value, promised < _LITTLE
    return found, ended, converged


def _advance(state: _State, step: Floats, promised: Floats, reml: bool) -> _State:
    """Take the step and learn from the change of slope; where it does not lower the criterion, go back and shorten."""
    new = state.x + state.length[:, None] * step
    with np.errstate(all="ignore"):  # a step too far may meet a singular E; the criterion is NaN there, and not lower
        at = _evaluate(state.sums, new, reml)
    allowed = state.at.value + _ROUNDING * (1.0 + np.abs(state.at.value)) - 1e-4 * state.length * promised
    back = np.flatnonzero(~(at.value <= allowed))
    if len(back):
        new[back] = state.x[back]
        at = _put(at, back, _take(state.at, back))
    there = _State.of(state.sums, state.free, new, at, state.learnt)
    there.length[back] = 0.3 * state.length[back]
    moved = new - state.x
    expected = np.einsum("tij,tj->ti", there.model + there.learnt, moved) * state.free
    missing = there.slope - state.slope - expected
    against = (missing * moved).sum(axis=1)
    usable = np.abs(against) > 1e-3 * np.sqrt((missing**2).sum(axis=1) * (moved**2).sum(axis=1))
    weight = np.where(usable, 1.0, 0.0) / np.where(usable, against, 1.0)
    learnt = state.learnt + weight[:, None, None] * missing[:, :, None] * missing[:, None, :]
    return replace(there, learnt=learnt)


def _starts(sums: VisitSums, free: Bools, reml: bool) -> tuple[Ints, Floats]:
    """Where to start: trials, once or more, and packed roots (starts, 6).

    One scoring step from no practice variance, and every local minimum of a grid of U_aa / E_aa that follows from the
    sizes of the practices and of the correlation of practice effects.
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
    values = np.stack([_evaluate(own, x, reml).value for x in starts])
    at, who = np.nonzero(_lowest(values.reshape(len(_CORRELATIONS), len(grid), len(grid), -1)))
    return np.concatenate([np.arange(trials), several[who]]), np.concatenate([first, starts[at, who]])


def _uneven(sums: VisitSums) -> Bools:
    """Whether one practice is much larger than they are on average: then minima may lie close together (trials,)."""
    people = sums.counts.sum(axis=1)
    return np.asarray(people.max(axis=-1) * (people > 0).sum(axis=-1) > _UNEVEN * people.sum(axis=-1))


def _around(sums: VisitSums, trials: Ints, found: Floats) -> tuple[Ints, Floats]:
    """Further starts of some trials: U along the mean residuals of each of the largest practices, as large as found.

    Where U is singular the combination of visits that it leaves out varies by E / n_j only: every large practice has a
    narrow valley of its own.
    """
    own, (e, u) = sums.take(trials), _squares(found[trials])
    visits = own.counts[:, :1] + own.counts[:, 1:]
    means = (own.sums[:, :2, :, -1] + own.sums[:, 2:, :, -1]) / np.maximum(visits, 1.0)
    order = np.argsort(-own.counts.sum(axis=1), axis=-1)[:, :_LARGEST]
    size = np.einsum("aat->t", u) + 1e-6 * np.einsum("aat->t", e)
    starts = []
    for place in order.T:
        along = np.take_along_axis(means, place[:, None, None], axis=-1)[..., 0].T
        squares = (along**2).sum(axis=0)
        shape = along[:, None] * along / np.where(squares > 0.0, squares, 1.0)
        starts.append(_packed(root_of(e), root_of(size * shape + 1e-6 * e)))
    return np.tile(trials, len(starts)), np.concatenate(starts)


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
    return _inside(_evaluate(sums, identity, reml).rest / total, 0.05)


def _grid(sums: VisitSums) -> Floats:
    """Ratios of practice to residual variance to start from (points, trials): from half of 1 / max n_j to 30."""
    largest = np.maximum(sums.counts.sum(axis=1).max(axis=-1), 2.0)
    points = int(np.ceil(np.log(60.0 * largest.max()) / np.log(_APART))) + 1
    return np.asarray(0.5 / largest * (60.0 * largest) ** np.linspace(0.0, 1.0, points)[:, None])


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


def _roots(x: Floats) -> tuple[Floats, Floats]:
    """A and B (2, 2, trials) of packed roots (trials, 6)."""
    full = x[:, [0, 1, 1, 2, 3, 4, 4, 5]].T.reshape(2, 2, 2, -1)
    return full[0], full[1]


def _squares(x: Floats) -> tuple[Floats, Floats]:
    a, b = _roots(x)
    return times(a, a), times(b, b)


def _evaluate(sums: VisitSums, x: Floats, reml: bool) -> Evaluation:
    a, b = _roots(x)
    return evaluate(sums, times(a, a), b, reml)


def _slope(x: Floats, at: Evaluation) -> Floats:
    """Derivatives by the packed roots: G A + A G for each (trials, 6)."""
    out = []
    for root, slope in zip(_roots(x), at.slopes, strict=True):
        g = times(slope, root) + times(root, slope)
        out += [g[0, 0], g[0, 1] + g[1, 0], g[1, 1]]
    return np.stack(out, axis=1)


def _model(sums: VisitSums, x: Floats, at: Evaluation) -> Floats:
    """Expected second derivatives by the packed roots, and what the squares add (trials, 6, 6)."""
    a, _ = _roots(x)
    expected = expected_curvature(sums, times(a, a), at)
    change = np.zeros((len(x), 6, 6))
    out = np.zeros_like(change)
    for block, (root, g) in enumerate(zip(_roots(x), at.slopes, strict=True)):
        i = 3 * block
        r00, r01, r11 = root[0, 0], root[0, 1], root[1, 1]
        change[:, i, i], change[:, i + 1, i] = 2.0 * r00, r01
        change[:, i, i + 1], change[:, i + 1, i + 1], change[:, i + 2, i + 1] = 2.0 * r01, r00 + r11, 2.0 * r01
        change[:, i + 1, i + 2], change[:, i + 2, i + 2] = r01, 2.0 * r11
        out[:, i, i], out[:, i + 2, i + 2] = 2.0 * g[0, 0], 2.0 * g[1, 1]
        out[:, i + 1, i + 1] = 2.0 * (g[0, 0] + g[1, 1])
        for k in (i, i + 2):
            out[:, k, i + 1] = out[:, i + 1, k] = 2.0 * g[0, 1]
    return out + change.transpose(0, 2, 1) @ expected @ change


def _newton(state: _State) -> tuple[Floats, Floats]:
    """Step against the slope with the signs of the eigenvalues made positive, and the decrease it promises.

    Every root is measured in units of its own curvature, so that a small residual variance does not hide the others.
    """
    free = state.free
    model = np.where(free[:, :, None] & free[:, None, :], state.model + state.learnt, 0.0)
    model += ~free[:, :, None] * np.eye(6)
    unit = np.sqrt(np.abs(np.einsum("tii->ti", model)))
    unit = np.maximum(unit, 1e-7 * unit.max(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh(model / (unit[:, :, None] * unit[:, None, :]))
    size = np.abs(values)
    size = np.maximum(size, _FLAT * size.max(axis=1, keepdims=True))
    along = np.einsum("tij,ti->tj", vectors, state.slope / unit)
    step = -np.einsum("tij,tj->ti", vectors, along / size) / unit
    longest = np.abs(step).max(axis=1)
    own = np.abs(step[:, :3]).max(axis=1) / np.abs(state.x[:, :3]).max(axis=1)  # E stays positive definite
    shorten = np.minimum(1.0, _LONGEST / np.maximum(np.maximum(longest, own), _LONGEST))
    return step * shorten[:, None], (along**2 / size).sum(axis=1) * shorten


def _take(at: Evaluation, trials: Ints) -> Evaluation:
    """The evaluation of some of the trials."""
    place = {name: (..., trials, slice(None)) if name in BY_PRACTICE else (..., trials) for name in vars(at)}
    return Evaluation(**{name: values[place[name]] for name, values in vars(at).items()})


def _put(at: Evaluation, trials: Ints, new: Evaluation) -> Evaluation:
    """The evaluation with some of the trials replaced."""
    out = {name: values.copy() for name, values in vars(at).items()}
    for name, values in out.items():
        values[(..., trials, slice(None)) if name in BY_PRACTICE else (..., trials)] = getattr(new, name)
    return Evaluation(**out)
