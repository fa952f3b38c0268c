"""Optimum of the two-visit model over its six variances and covariances, all trials of a block at once.

Newton's method on the roots A and B of E and U. Second derivatives are the expected ones, the exact curvature of the
squares A A and B B, and a symmetric rank-one correction that learns the rest from the change of the slope (structured
quasi-Newton: Dennis, Gay and Welsch 1981, doi:10.1145/355958.355965). Negative eigenvalues are turned positive, so that
saddle points repel; a step that does not lower the criterion is shortened.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.core import compiled, using
from simtrial.kernels.two_visits_criterion import BY_PRACTICE, Evaluation, VisitSums, expected_curvature, times
from simtrial.kernels.two_visits_starts import around, doubtful, evaluate_at, roots, squares, starts_of

_STEPS = 80
_CLOSE = 1e-18  # decrease of the criterion still promised at which a fit has converged
_LITTLE = 1e-9  # the same after the last step
_LONGEST = 0.5  # of one step, in roots of variances where responses have variance near 1
_ROUNDING = 1e-11  # of the criterion, relative
_FLAT = 1e-6  # least eigenvalue of the second derivatives, as a share of the largest
_NOWHERE = 1e300  # the criterion where it is not a number
_ALIKE = 1e-9  # ends that differ by less are one, and the first one stands for it


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
        return cls(
            sums=sums,
            free=free,
            x=x,
            at=at,
            slope=_slope(x, at) * free,
            model=_model(sums, x, at),
            learnt=learnt,
            length=np.ones(len(x)),
        )

    def take(self, trials: Ints) -> _State:
        """Return some of the trials."""
        at, sums = _take(self.at, trials), self.sums.take(trials)
        x, slope, model = self.x[trials], self.slope[trials], self.model[trials]
        return _State(
            sums=sums,
            free=self.free[trials],
            x=x,
            at=at,
            slope=slope,
            model=model,
            learnt=self.learnt[trials],
            length=self.length[trials],
        )


def fit(sums: VisitSums, unclustered: Bools, reml: bool) -> Fit:
    """Minimise the criterion from every start and keep the lowest; where ``unclustered`` (trials,) U is held at 0."""
    trials = len(sums.counts)
    free = np.ones((trials, 6), dtype=bool)
    free[:, 3:] &= ~unclustered[:, None]
    found, converged, sure = _lowest(sums, free, reml)
    e, u = squares(found)
    with np.errstate(all="ignore"):  # where the criterion falls without end E is singular
        ended = Fit(e, u, evaluate_at(sums, found, reml), converged)
    doubt = np.flatnonzero(~sure)
    if not len(doubt):
        return ended
    with using("numpy"):
        again = fit(sums.take(doubt), unclustered[doubt], reml)
    e[..., doubt], u[..., doubt], converged[doubt] = again.e, again.u, again.converged
    return Fit(e, u, _put(ended.at, doubt, again.at), converged)


def _lowest(sums: VisitSums, free: Bools, reml: bool) -> tuple[Floats, Bools, Bools]:
    """Lowest end of every trial (trials, 6), whether it converged, and whether that is certain (trials,)."""
    trials = len(sums.counts)
    found, lowest, converged = np.empty((trials, 6)), np.full(trials, np.inf), np.zeros(trials, dtype=bool)
    sure, closer = np.ones(trials, dtype=bool), np.flatnonzero(free[:, 5] & doubtful(sums))
    for look in range(2):
        if look and not len(closer):
            break
        who, starts = around(sums, closer, found, reml) if look else starts_of(sums, free, reml)
        x, value, done, certain = _ends(sums, who, free[who], reml, starts)
        sure[who[~certain]] = False
        value = np.where(np.isfinite(value), value, _NOWHERE)
        rounding = np.maximum(_ALIKE, _ROUNDING * (1.0 + np.abs(value)))  # an end that is lower by that is not lower
        value = value + np.where(done, 0.0, rounding)
        value += _ALIKE * (look > 0 or np.arange(len(who)) >= trials)  # of ends that are one the first start's
        order = np.argsort(-value, kind="stable")  # the lowest is written last
        better = order[value[order] < lowest[who[order]]]
        for out, new in ((found, x), (lowest, value), (converged, done)):
            out[who[better]] = new[better]
    return found, converged, sure


def _ends(sums: VisitSums, who: Ints, free: Bools, reml: bool, x: Floats) -> tuple[Floats, Floats, Bools, Bools]:
    """Ends as by `_minimised` of starts in trials ``who`` (starts,), and whether they are certain.

    The compiled search is not where an end is flat or E close to singular, or there is none.
    """
    if kernels := compiled():
        found, ended, sure = np.empty_like(x), np.full(len(x), np.inf), np.empty(len(x), dtype=bool)
        kernels.minimise_visits(*sums.arrays, who, free, reml, x, found, ended, sure)
        return found, ended, sure, sure
    return *_minimised(sums.take(who), free, reml, x), np.ones(len(x), dtype=bool)


def _minimised(sums: VisitSums, free: Bools, reml: bool, x: Floats) -> tuple[Floats, Floats, Bools]:
    """End of every start (starts, 6), the criterion there, and whether it converged (starts,)."""
    with np.errstate(all="ignore"):  # a start may lie where rounding leaves no positive definite sum
        at = evaluate_at(sums, x, reml)
    active = np.flatnonzero(np.isfinite(at.value))
    found, ended, converged = x.copy(), np.full(len(x), np.inf), np.zeros(len(x), dtype=bool)
    if not len(active):
        return found, ended, converged
    sums, free, at, ended[active] = sums.take(active), free[active], _take(at, active), at.value[active]
    state = _State.of(sums, free, x[active], at, np.zeros((len(active), 6, 6)))
    for _ in range(_STEPS):
        step, promised = _newton(state)
        small = promised < _CLOSE
        found[active] = state.x + np.where(small[:, None], step, 0.0)
        ended[active], converged[active] = state.at.value, small
        keep = np.flatnonzero(~small & np.isfinite(promised))
        if not len(keep):
            break
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
        at = evaluate_at(state.sums, new, reml)
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


def _slope(x: Floats, at: Evaluation) -> Floats:
    """Derivatives by the packed roots: G A + A G for each (trials, 6)."""
    out = []
    for root, slope in zip(roots(x), at.slopes, strict=True):
        g = times(slope, root) + times(root, slope)
        out += [g[0, 0], g[0, 1] + g[1, 0], g[1, 1]]
    return np.stack(out, axis=1)


def _model(sums: VisitSums, x: Floats, at: Evaluation) -> Floats:
    """Expected second derivatives by the packed roots, and what the squares add (trials, 6, 6)."""
    a, _ = roots(x)
    expected = expected_curvature(sums, times(a, a), at)
    change = np.zeros((len(x), 6, 6))
    out = np.zeros_like(change)
    for block, (root, g) in enumerate(zip(roots(x), at.slopes, strict=True)):
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
    Where E is so close to singular that derivatives cannot be computed there is no step, and NaN is promised.
    """
    free = state.free
    sizes = np.abs(state.model + state.learnt).max(axis=(1, 2)) + np.abs(state.slope).max(axis=1)
    there = np.isfinite(sizes)
    free = free & there[:, None]
    model = np.where(free[:, :, None] & free[:, None, :], state.model + state.learnt, 0.0)
    model += ~free[:, :, None] * np.eye(6)
    unit = np.sqrt(np.abs(np.einsum("tii->ti", model)))
    unit = np.maximum(unit, 1e-7 * unit.max(axis=1, keepdims=True))
    values, vectors = np.linalg.eigh(model / (unit[:, :, None] * unit[:, None, :]))
    size = np.abs(values)
    size = np.maximum(size, _FLAT * size.max(axis=1, keepdims=True))
    along = np.einsum("tij,ti->tj", vectors, np.where(free, state.slope, 0.0) / unit)
    step = -np.einsum("tij,tj->ti", vectors, along / size) / unit
    longest = np.abs(step).max(axis=1)
    own = np.abs(step[:, :3]).max(axis=1) / np.abs(state.x[:, :3]).max(axis=1)  # E stays positive definite
    shorten = np.minimum(1.0, _LONGEST / np.maximum(np.maximum(longest, own), _LONGEST))
    return step * shorten[:, None], np.where(there, (along**2 / size).sum(axis=1) * shorten, np.nan)


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
