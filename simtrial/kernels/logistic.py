"""Logistic regression of all groups of a block at once, by Newton's method; separation is followed to its limit.

The likelihood of separated data has no maximum, but its supremum has a limit: people whom no finite coefficients fit
are certain (probability 1 or 0), and the others keep a maximum of their own (Geyer 2009, doi:10.1214/08-EJS349).
Newton's steps take the certain ones towards their limit by a factor e each, and the others quadratically, which tells
them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.kernels.segments import starts, sum_by
from simtrial.kernels.small_matrices import independent, pairs, sweep, unpack

STEPS = 30
STILL = 1e-18  # Newton decrement: after STEPS steps that of separated data is about exp(-STEPS), 1e-13
NEAR = 0.1  # change of a linear predictor by the last step; separated data move on by 1, however little that adds
FALLS = 0.1  # share of a distance from 0 or 1 left by the second half of the steps; of certain people's e^-15 is
ROUNDS = 4  # of people who turn out certain after others have been set apart


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Fitted probabilities, and what their estimation adds to a variance.

    ``probability`` and ``certain`` (rows,); ``coefficients`` (q, groups); ``inverse`` of the information of those who
    are not certain (q, q, groups), 0 for dropped columns; ``separated`` where someone is certain though the group has
    both outcomes, and ``converged`` (groups,).
    """

    probability: Floats
    certain: Bools
    coefficients: Floats
    inverse: Floats
    separated: Bools
    converged: Bools


def fit(columns: Floats, happened: Bools, group: Ints, groups: int) -> Fit:
    """Regress an event on columns of about unit size, the first of them constant.

    Parameters
    ----------
    columns
        (q, rows).
    happened, group
        Whether the event happened, and the group of every row (rows,).
    """
    q, outcome = len(columns), happened.astype(np.float64)
    events, everyone = sum_by(outcome, group, groups), np.bincount(group, minlength=groups)
    both = (events > 0) & (events < everyone)
    certain, probability = ~both[group], outcome.copy()
    coefficients, inverse = np.zeros((q, groups)), np.zeros((q, q, groups))
    separated, todo = np.zeros(groups, dtype=bool), both.copy()
    for _ in range(ROUNDS):
        rows = np.flatnonzero(todo[group] & ~certain)
        if not len(rows):
            break
        rows = rows[np.argsort(group[rows], kind="stable")]
        of, number = np.unique(group[rows], return_inverse=True)
        found = _newton(columns[:, rows], outcome[rows], number, len(of))
        probability[rows] = found.probability
        coefficients[:, of], inverse[:, :, of] = found.coefficients, found.inverse
        todo[:] = False
        todo[of[~found.converged]] = True
        separated |= todo
        now, before = (np.abs(outcome[rows] - p) for p in (found.probability, found.halfway))
        certain[rows] |= ~found.converged[number] & (now <= FALLS * before)
        probability[certain] = outcome[certain]
        left = np.bincount(group[~certain], minlength=groups) > 0
        inverse[:, :, todo & ~left] = 0.0
        todo &= left
    return Fit(
        probability=probability, certain=certain, coefficients=coefficients, inverse=inverse, separated=separated,
        converged=~todo,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Steps:
    probability: Floats
    halfway: Floats
    coefficients: Floats
    inverse: Floats
    converged: Bools


def _newton(x: Floats, y: Floats, group: Ints, groups: int) -> _Steps:
    """Newton's steps for rows sorted by group, none of them empty; columns that are combinations of others are dropped.

    Groups that have come to rest are left out of the steps that others still need.
    """
    gram = _products(x, np.ones_like(y), starts(group))
    kept = independent(gram, np.einsum("iig->ig", gram))
    x = x * kept[:, group]
    done = _Steps(
        probability=np.full(len(y), 0.5),
        halfway=np.full(len(y), 0.5),
        coefficients=np.zeros((len(x), groups)),
        inverse=np.empty(gram.shape),
        converged=np.zeros(groups, dtype=bool),
    )
    rows, active = np.arange(len(y)), np.arange(groups)
    for step in range(STEPS):
        own, number = kept[:, active], np.repeat(np.arange(len(active)), np.bincount(group, minlength=groups)[active])
        part, happened, first = x[:, rows], y[rows], starts(number)
        beta = done.coefficients[:, active]
        score = np.einsum("qn,qn->n", part, beta[:, number])
        probability = _expit(score)
        slope = np.add.reduceat(part * (happened - probability), first, axis=1)
        information = _products(part, probability * (1.0 - probability), first)
        with np.errstate(all="ignore"):
            inverse, along = _solved(information, slope, own)
            far = np.maximum.reduceat(np.abs(np.einsum("qn,qn->n", part, along[:, number])), first)
            still = ((slope * along).sum(axis=0) <= STILL) & (far <= NEAR)
        if step == STEPS // 2:
            done.halfway[rows] = probability
        done.probability[rows], done.inverse[:, :, active], done.converged[active] = probability, inverse, still
        if still.all():
            break
        move = _uphill(part, happened, number, score, np.where(still | ~np.isfinite(along), 0.0, along))
        done.coefficients[:, active] = beta + move
        rows, active = rows[~still[number]], active[~still]
    return done


def _uphill(x: Floats, y: Floats, group: Ints, score: Floats, step: Floats) -> Floats:
    """The step, halved where the likelihood would fall, and none where that does not help (q, groups)."""
    with np.errstate(over="ignore", invalid="ignore"):
        first, along = starts(group), np.einsum("qn,qn->n", x, step[:, group])
    at, share = _log_likelihood(score, y, first), np.ones(step.shape[1])
    for _ in range(STEPS):
        with np.errstate(over="ignore", invalid="ignore"):  # steps of an information that is rounding
            falls = ~(_log_likelihood(score + share[group] * along, y, first) >= at - 1e-12 * np.abs(at))
        if not falls.any():
            return step * share
        share = np.where(falls, 0.5 * share, share)
    return step * np.where(falls, 0.0, share)


def _solved(information: Floats, score: Floats, kept: Bools) -> tuple[Floats, Floats]:
    """Inverse of the information and the step to where the score is 0; both 0 for dropped columns."""
    q = len(score)
    work = np.zeros((q + 1, q + 1, score.shape[1]))
    work[:q, :q] = information
    work[range(q), range(q)] += ~kept
    work[:q, q] = work[q, :q] = score
    inverse, step, _, _ = sweep(work, q)
    return inverse * kept * kept[:, None], step[:, 0] * kept


def _products(x: Floats, weight: Floats, first: Ints) -> Floats:
    """X'WX of every group (q, q, groups); ``first`` row of each."""
    one, other = pairs(len(x))
    weighted = x * weight
    return unpack(
        np.stack([np.add.reduceat(x[i] * weighted[j], first) for i, j in zip(one, other, strict=True)]), len(x)
    )


def _log_likelihood(score: Floats, y: Floats, first: Ints) -> Floats:
    return -np.add.reduceat(np.logaddexp(0.0, np.where(y > 0.5, -score, score)), first)


def _expit(score: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * score)))
