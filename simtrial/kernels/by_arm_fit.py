"""Optimum of the random-intercept model with variances by arm, all trials of a block at once.

Newton's method with the exact second derivatives of `simtrial.kernels.by_arm_criterion`, on log s_a and t_a. Practice
variances stay at or above 0: one that lies there and would fall is left out of the step, one that steps below is put
there exactly (Bertsekas 1982, doi:10.1137/0320018). Negative eigenvalues are turned positive and steps that do not
lower the criterion shortened. It starts where `simtrial.kernels.by_arm_starts` says and keeps the lowest end.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.core import compiled, using
from simtrial.kernels.by_arm_criterion import (
    ArmSums,
    Evaluation,
    evaluate,
    expected_df,
    information_of,
    less_least_squares,
    products,
)
from simtrial.kernels.by_arm_starts import RESIDUALS, TIED, By, starts_of
from simtrial.kernels.small_matrices import independent, quadratic, sweep, unpack

VANISHED = 1e-9  # residual variance of an arm, as a share of the whole, below which the arm is fitted perfectly
UNKNOWN = 1e-8  # least eigenvalue of the information, scaled to what known coefficients would give
_STEPS = 80
_CLOSE = 1e-11  # decrease of the criterion still promised at which the next step is the last
_LITTLE = 1e-8  # the same after the last step
_ROUNDING = 1e-12
_FLAT = 1e-6  # least eigenvalue of the second derivatives, as a share of the largest
_LONGEST = 1.5  # of a step in log s


@dataclass(frozen=True)
class Fit:
    """A fitted model per trial.

    ``theta`` (4, trials) residual then practice variances, control first, practice variances exactly 0 on the boundary;
    ``held`` (k, trials) parameters held at 0 because nothing tells them from the residual variance; ``perfect`` where
    an arm leaves no residual, ``identified`` whether the data tell the variances, ``deviance`` as of
    `simtrial.kernels.random_intercept_fit` (trials,).
    """

    theta: Floats
    by: By
    at: Evaluation
    deviance: Floats
    converged: Bools
    held: Bools
    perfect: Bools
    identified: Bools

    @property
    def sigma2(self) -> Floats:
        """Residual variances of control and intervention (2, trials)."""
        return self.theta[:2]

    @property
    def tau2(self) -> Floats:
        """Practice variances of control and intervention (2, trials)."""
        return self.theta[2:]

    @property
    def held_by_arm(self) -> Bools:
        """Practice variances of control and intervention held at 0 (2, trials)."""
        return np.asarray((TIED[self.by] @ self.held)[2:] > 0)

    @property
    def boundary(self) -> Bools:
        """Where a practice variance that could be positive is 0 (trials,)."""
        return np.asarray((self._zero & ~self.held).any(axis=0))

    @property
    def _zero(self) -> Bools:
        return np.asarray(TIED[self.by].T @ self.theta == 0.0)

    def variance(self, contrast: Floats) -> Floats:
        """Model variance of a contrast (p, trials) of the coefficients (trials,)."""
        return quadratic(contrast, self.at.inverse)

    def df(self, contrast: Floats) -> Floats:
        """Satterthwaite df of a contrast by expected information, variances at 0 taken as known (trials,)."""
        return expected_df(self.at, contrast, TIED[self.by], ~self._zero & self.identified)


@np.errstate(divide="ignore", invalid="ignore")  # a trial that has no fit divides by 0 beside the others
def fit(sums: ArmSums, by: By, reml: bool) -> Fit:
    """Fit every trial by REML or ML; trials must have full rank X, people in both arms and residual df."""
    tied = TIED[by]
    held = _held(sums, by)
    scale, beta = _least_squares(sums)
    sums = less_least_squares(sums, beta)
    best, converged, sure = _lowest(sums, by, reml, scale, held)
    doubt = np.flatnonzero(~sure)
    if len(doubt):
        with using("numpy"):
            best[:, doubt], converged[doubt], _ = _lowest(sums.take(doubt), by, reml, scale[doubt], held[:, doubt])
    theta = tied @ _parameters(best, by, scale)
    at = evaluate(sums, theta, reml)
    at = replace(at, coefficients=at.coefficients + beta)
    nu = sums.people.sum(axis=0) - (sums.rank if reml else 0.0)
    perfect = theta[:2].min(axis=0) <= VANISHED * scale
    return Fit(
        theta=theta,
        by=by,
        at=at,
        deviance=at.value + nu * np.log(2.0 * np.pi),
        converged=converged | perfect,
        held=held,
        perfect=perfect,
        identified=_identified(at, tied, ~held) & ~(_unbounded(sums, by, scale) & (not reml)),
    )


def _lowest(sums: ArmSums, by: By, reml: bool, scale: Floats, held: Bools) -> tuple[Floats, Bools, Bools]:
    """Lowest end of every trial (k, trials), whether it converged, and whether that is certain (trials,)."""
    trials = len(scale)
    starts, who = starts_of(sums, by, reml, scale, held)
    best, converged, sure = np.empty((len(starts), trials)), np.zeros(trials, dtype=bool), np.ones(trials, dtype=bool)
    if kernels := compiled():  # it is not certain where an end is flat or an arm leaves little
        starts = np.ascontiguousarray(starts)
        x, ended, done = np.empty_like(starts), np.full(len(who), np.inf), np.empty(len(who), dtype=bool)
        kernels.minimise_arms(*sums.arrays, TIED[by], RESIDUALS[by], reml, who, starts, scale, held, x, ended, done)
        sure[who[~done]] = False
    else:
        x, ended, done = _newton(sums.take(who), by, reml, starts, scale[who], held[:, who])
    order = np.argsort(-ended, kind="stable")  # the lowest value is written last
    best[:, who[order]], converged[who[order]] = x[:, order], done[order]
    return best, converged, sure


def _unbounded(sums: ArmSums, by: By, scale: Floats) -> Bools:
    """Trials in which the likelihood of ML grows without end: coefficients fit an arm exactly within its practices.

    Its residual variance may then go to 0 at no cost. So may, where all its practices have one person, its variance as
    a whole if its rows are fitted exactly. REML takes the fitted directions from the determinant.
    """
    p, exact = sums.regressors, []
    alone = (sums.people == sums.clusters)[:, :, None]
    rows = sums.within + np.where(alone, sums.between.sum(axis=-1), 0.0)
    parts = [sums.within.sum(axis=0)] if by == "cluster" else list(rows)
    for packed in parts:
        inside = unpack(packed.T, p + 1)
        at = np.arange(p)
        kept = independent(inside[:p, :p], inside[at, at])
        inside[:p] *= kept[:, None]
        inside[:, :p] *= kept
        inside[at, at] += ~kept
        exact.append(sweep(inside, p)[2][0, 0] <= VANISHED * scale)
    return np.asarray(np.stack(exact).any(axis=0) & ~((by == "cluster") & alone.all(axis=(0, 2))))


def _held(sums: ArmSums, by: By) -> Bools:
    """Practice variances that nothing tells from residual ones, as all clusters concerned have one row (k, trials)."""
    alone = sums.people == sums.clusters
    every = alone.all(axis=0)
    none = np.zeros_like(every)
    if by == "both":
        return np.stack([none, none, *alone])
    return np.stack([none, none, every]) if by == "residual" else np.stack([none, every, every])


def _least_squares(sums: ArmSums) -> tuple[Floats, Floats]:
    """Residual variance (trials,) and coefficients (p, trials) of OLS."""
    _, coefficients, rest, _ = sweep(products(sums, _same(sums, 1.0, 0.0)), sums.regressors)
    return rest[0, 0] / (sums.people.sum(axis=0) - sums.rank), coefficients[:, 0]


def _same(sums: ArmSums, s: float, t: float) -> Floats:
    return np.array([s, s, t, t])[:, None] * np.ones(len(sums.rank))


def _parameters(x: Floats, by: By, scale: Floats) -> Floats:
    """Variances (k, trials) of what the optimiser moves."""
    count = RESIDUALS[by]
    return np.concatenate([np.exp(x[:count]), x[count:]]) * scale


@dataclass(frozen=True)
class _State:
    """Trials still moving: where they are, the criterion, its derivatives by x (k, ...) and the next step's share."""

    sums: ArmSums
    scale: Floats
    held: Bools
    x: Floats
    value: Floats
    slope: Floats
    curvature: Floats
    length: Floats

    def take(self, trials: Ints) -> _State:
        """Return some of the trials."""
        rest = {f.name: getattr(self, f.name)[..., trials] for f in fields(self) if f.name != "sums"}
        return _State(sums=self.sums.take(trials), **rest)


def _state(sums: ArmSums, by: By, reml: bool, x: Floats, scale: Floats, held: Bools) -> _State:
    tied, count = TIED[by], RESIDUALS[by]
    phi = _parameters(x, by, scale)
    at = evaluate(sums, tied @ phi, reml)
    rate = np.concatenate([phi[:count], np.broadcast_to(scale, phi[count:].shape)])
    slope = (tied.T @ at.slope) * rate
    curvature = np.einsum("ak,abr,bl->klr", tied, at.curvature, tied) * rate * rate[:, None]
    places = np.arange(count)
    curvature[places, places] += slope[:count]  # log s bends
    return _State(
        sums=sums,
        scale=scale,
        held=held,
        x=x,
        value=at.value,
        slope=slope,
        curvature=curvature,
        length=np.ones(len(scale)),
    )


def _newton(sums: ArmSums, by: By, reml: bool, x: Floats, scale: Floats, held: Bools) -> tuple[Floats, Floats, Bools]:
    """End of every start (k, starts), the criterion there, and whether it converged (starts,)."""
    active, count = np.arange(len(scale)), RESIDUALS[by]
    state = _state(sums, by, reml, x, scale, held)
    found, ended, converged = x.copy(), state.value.copy(), np.zeros(len(scale), dtype=bool)
    for _ in range(_STEPS):
        step, promised = _step(state, count)
        last = promised < _CLOSE
        gone = state.x[:count].min(axis=0) < np.log(VANISHED)
        found[:, active] = _moved(state.x, np.where(last, 1.0, 0.0) * step, count)
        ended[active], converged[active] = state.value, last
        keep = np.flatnonzero(~last & ~gone)
        if not len(keep):
            break
        if len(keep) < len(active):
            active, state, step = active[keep], state.take(keep), step[:, keep]
        state = _advance(state, by, reml, step)
    else:  # rounding leaves a little to gain for ever where the fit is nearly perfect
        found[:, active], ended[active] = state.x, state.value
        converged[active] = _step(state, count)[1] < _LITTLE
    return found, ended, converged


def _moved(x: Floats, step: Floats, count: int) -> Floats:
    """Take a step; practice variances stop at 0."""
    new = x + step
    new[count:] = np.maximum(new[count:], 0.0)
    return new


def _advance(state: _State, by: By, reml: bool, step: Floats) -> _State:
    """Take the step; where it does not lower the criterion go back and shorten the next one."""
    new = _moved(state.x, state.length * step, RESIDUALS[by])
    there = _state(state.sums, by, reml, new, state.scale, state.held)
    back = ~(there.value <= state.value + _ROUNDING * (1.0 + np.abs(state.value)))
    if not back.any():
        return there
    kept = {
        name: np.where(back, getattr(state, name), getattr(there, name))
        for name in ("x", "value", "slope", "curvature")
    }
    return replace(there, **kept, length=np.where(back, 0.3 * state.length, 1.0))


def _step(state: _State, count: int) -> tuple[Floats, Floats]:
    """Newton step (k, trials) with eigenvalues made positive, and the decrease it promises (trials,)."""
    stays = state.held.copy()
    stays[count:] |= (state.x[count:] == 0.0) & (state.slope[count:] >= 0.0)
    free = ~stays.T
    model = np.where(free[:, :, None] & free[:, None, :], state.curvature.transpose(2, 0, 1), np.eye(len(state.x)))
    values, vectors = np.linalg.eigh(model)
    size = np.abs(values)
    size = np.maximum(size, _FLAT * size.max(axis=1, keepdims=True))
    along = np.einsum("rij,ri->rj", vectors, state.slope.T * free)
    step = -np.einsum("rij,rj->ri", vectors, along / size).T * free.T
    longest = np.abs(step[:count]).max(axis=0)
    return step * np.minimum(1.0, _LONGEST / np.maximum(longest, _LONGEST)), (along**2 / size).sum(axis=1)


def _identified(at: Evaluation, tied: Floats, free: Bools) -> Bools:
    """Whether the residuals of X tell all free variances apart (trials,)."""
    whole = information_of(at.plain, tied, free)
    size = np.sqrt(np.einsum("rkk->rk", whole))
    restricted = information_of(at.restricted, tied, free) / (size[:, :, None] * size[:, None, :])
    return np.asarray(np.linalg.eigvalsh(restricted)[:, 0] > UNKNOWN)
