"""Maximum likelihood of a mixture of two classes with a shared practice effect, from several starts, trials together.

A step is Newton's with the observed information where that is positive definite, else that of the EM gradient
algorithm: the complete-data information in its place (Lange 1995, doi:10.1111/j.2517-6161.1995.tb02037.x). A step that
lowers the likelihood is halved. Trials leave when they are done.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.two_classes import People, Point, point

STEPS = 80
DONE = 1e-12  # square of Newton's step in standard errors after which the next one is rounding
NARROW = -9.2  # log sigma, outcome of SD 1, below which a class has collapsed on equal outcomes
ENDLESS = 1e4
"""Variance of the coefficient of a predictor of SD 1 beyond which it has no finite estimate.

Without a maximum steps stay about 1 while the information falls: a fit counts as converged when its step squared times
the information is below DONE, so with a variance of about 1/DONE. A finite one would have a standard error of 100.
"""
POSITIVE = 1e-7  # smallest eigenvalue of an information in units of the complete one that counts as positive
SINGULAR, RIDGE = 1e-12, 1e-8  # eigenvalue in its own units at which one is singular, and what makes it solvable
NEAR = 2.0  # log-likelihood within which another maximum is worth a warning
APART = 0.1  # standard errors by which the effects of two maxima differ if they are two
TOGETHER = 100  # trials in one pass, so that its arrays stay near the processor


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The best maximum of every trial: parameters (trials, P), log-likelihood, covariance (trials, P, P).

    ``converged``; ``collapsed`` (no residual variance left, or a singular information), ``separated`` (a coefficient of
    the class has no finite estimate; the others are then at their limit) and ``several`` (another maximum nearly as
    high with another effect), all (trials,).
    """

    at: Floats
    loglik: Floats
    covariance: Floats
    converged: Bools
    collapsed: Bools
    separated: Bools
    several: Bools


@dataclass(frozen=True)
class _Peak:
    """Where one start has led: parameters, log-likelihood, observed information, and how it ended."""

    at: Floats
    loglik: Floats
    information: Floats
    converged: Bools
    collapsed: Bools


def fit(groups: Sequence[People], starts: Floats, free: Bools, effect: int, nodes: int) -> Fit:
    """Maximise from every start (starts, trials, P); parameters that are not ``free`` (trials, P) stay.

    ``effect`` is the number of the parameter by which maxima are told apart.
    """
    parts, p = [], groups[0].first.shape[1]
    for first in range(0, starts.shape[1], TOGETHER):
        chosen = np.arange(first, min(first + TOGETHER, starts.shape[1]))
        own = [people.take(chosen) for people in groups]
        parts.append(
            _best([_climb(own, start[chosen], free[chosen], nodes) for start in starts], free[chosen], effect, p)
        )
    return Fit(**{name: np.concatenate([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def _best(peaks: Sequence[_Peak], free: Bools, effect: int, p: int) -> Fit:
    """The highest maximum, and whether another one is near."""
    height = np.stack([np.where(peak.converged, peak.loglik, -np.inf) for peak in peaks])
    best, trials = height.argmax(axis=0), np.arange(len(free))

    def chosen(name: str) -> Floats:
        return np.asarray(np.stack([vars(peak)[name] for peak in peaks])[best, trials])

    information = _fixed(chosen("information"), free)
    good = _positive(information, information)
    with np.errstate(invalid="ignore"):
        covariance = np.linalg.inv(np.where(good[:, None, None], information, np.eye(free.shape[1])))
        covariance = np.where(good[:, None, None], covariance, np.nan)
        error = np.sqrt(covariance[:, effect, effect])
        apart = np.abs(np.stack([peak.at[:, effect] for peak in peaks]) - chosen("at")[:, effect]) > APART * error
        several = (apart & (height > height.max(axis=0) - NEAR)).any(axis=0)
    converged = np.asarray(chosen("converged"), dtype=bool)
    none = ~converged
    return Fit(
        at=chosen("at"), loglik=chosen("loglik"), covariance=covariance, converged=converged & good,
        collapsed=(none & np.all([peak.collapsed for peak in peaks], axis=0)) | (converged & ~good),
        separated=(np.einsum("tii->ti", covariance)[:, p + 2 :] > ENDLESS).any(axis=1), several=several & converged,
    )  # fmt: skip


def _climb(groups: Sequence[People], start: Floats, free: Bools, nodes: int) -> _Peak:
    """Climb from one start (trials, P)."""
    trials = len(start)
    p = groups[0].first.shape[1]
    at, now = start.copy(), _all(groups, start, nodes)
    loglik, information = now.loglik.copy(), now.complete - now.missing
    converged, collapsed = np.zeros((2, trials), dtype=bool)
    active, own, length = np.arange(trials), list(groups), np.ones(trials)
    for _ in range(STEPS):
        step, decrement, newton = _step(at[active], now, free[active], p)
        tried = at[active] + length[active, None] * step
        new = _all(own, tried, nodes)
        with np.errstate(invalid="ignore"):
            up = new.loglik >= now.loglik - 1e-11 * (1.0 + np.abs(now.loglik))
        at[active] = np.where(up[:, None], tried, at[active])
        length[active] = np.where(up, 1.0, 0.5 * length[active])
        now = Point(
            *(np.where(up[(...,) + (None,) * (a.ndim - 1)], b, a)
              for a, b in zip(vars(now).values(), vars(new).values(), strict=True))
        )  # fmt: skip
        loglik[active], information[active] = now.loglik, now.complete - now.missing
        stuck = length[active] < 1e-6
        converged[active] = newton & (up | stuck) & (decrement < DONE)
        collapsed[active] = at[active, p + 1] < NARROW
        going = ~(converged | collapsed)[active] & ~stuck & np.isfinite(now.loglik)
        if not going.any():
            break
        if not going.all():
            active, own, now = _left(active, own, now, going)
    at[:, p] = np.abs(at[:, p])
    return _Peak(at, loglik, information, converged & ~collapsed, collapsed)


def _left(active: Ints, own: list[People], now: Point, going: Bools) -> tuple[Ints, list[People], Point]:
    """Only the trials that are still going."""
    chosen = np.flatnonzero(going)
    return active[chosen], [people.take(chosen) for people in own], Point(*(v[chosen] for v in vars(now).values()))


def _all(groups: Sequence[People], at: Floats, nodes: int) -> Point:
    one, *more = (point(people, at, nodes) for people in groups)
    for other in more:
        one = one + other
    return one


def _step(at: Floats, now: Point, free: Bools, p: int) -> tuple[Floats, Floats, Bools]:
    """Step (trials, P), its expected gain times two, and where it is Newton's (trials,)."""
    complete = _fixed(_at_its_own_maximum(now, p), free)
    observed = _fixed(now.complete - now.missing, free)
    newton = _positive(observed, complete)
    score = np.where(free, now.score, 0.0)
    matrix = np.where(newton[:, None, None], observed, _solvable(complete, ~newton))
    step = np.linalg.solve(matrix, score[:, :, None])[:, :, 0]
    decrement = (step * score).sum(axis=1)
    limit = np.ones(at.shape[1])
    limit[p + 2 :] = 3.0
    step = step / np.maximum(1.0, np.abs(step / limit).max(axis=1))[:, None]
    saddle = ~newton & (decrement < 1e-8) & free[:, p]  # the likelihood is even in tau: at 0 it may be lowest
    step[:, p] = np.where(saddle, 0.3 * np.exp(at[:, p + 1]), step[:, p])
    return step, decrement, newton


def _solvable(information: Floats, wanted: Bools) -> Floats:
    """Information, a little more on the diagonal where it is singular: no one is between the classes any more.

    Separated classes have nothing along some direction of g, and nowhere else for a step to go.
    """
    singular = np.zeros(len(information), dtype=bool)
    singular[wanted] = ~_positive(information[wanted], information[wanted], SINGULAR)
    diagonal = np.einsum("tii->ti", information)
    more = np.where(singular[:, None], RIDGE * (diagonal + 1.0), 0.0)
    return np.asarray(information + more[:, :, None] * np.eye(information.shape[1]))


def _at_its_own_maximum(now: Point, p: int) -> Floats:
    """Complete-data information with the terms of log sigma as they are where its score is 0: positive definite."""
    out = now.complete.copy()
    out[:, p + 1, p + 1] -= 2.0 * now.score[:, p + 1]
    out[:, : p + 1, p + 1] = out[:, p + 1, : p + 1] = 0.0
    return out


def _fixed(information: Floats, free: Bools) -> Floats:
    """Information with a 1 on the diagonal, and nothing beside it, for parameters that stay."""
    both = free[:, :, None] & free[:, None]
    return np.where(both, information, 0.0) + np.eye(free.shape[1]) * ~free[:, :, None]


def _positive(information: Floats, unit: Floats, least: float = POSITIVE) -> Bools:
    """Whether information is positive definite, in units of the diagonal of another (trials,)."""
    root = np.sqrt(np.maximum(np.einsum("tii->ti", unit), 1e-300))
    with np.errstate(over="ignore"):  # beside a diagonal of nothing: not positive
        scaled = information / root[:, :, None] / root[:, None]
    finite = np.isfinite(scaled).all(axis=(1, 2))
    lowest = np.linalg.eigvalsh(np.where(finite[:, None, None], scaled, -np.eye(information.shape[1])))[:, 0]
    return np.asarray(lowest > least)
