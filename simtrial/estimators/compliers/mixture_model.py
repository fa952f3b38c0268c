"""Designs and starting values of the mixture of compliers and never-takers, in units of the outcome's SD."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.estimators.compliers.one_sided import Receipt, columns_of, kept_of
from simtrial.kernels.segments import starts, sum_by
from simtrial.kernels.two_classes import People
from simtrial.moments.moments import Moments

EFFECT = 2  # place of the complier effect: means of compliers and never-takers in control stand before it
OFFSETS = (0.0, 0.6, -0.6, 1.5, -1.5, 0.25, -0.25, 1.0, -1.0, 2.5, -2.5)  # of the compliers' mean, residual SDs


@dataclass(frozen=True)
class MixtureModel:
    """People of the two arms, starting values (starts, trials, P), free parameters (trials, P), and units (trials,)."""

    groups: tuple[People, People]
    starts: Floats
    free: Bools
    scale: Floats
    numbered: Ints

    @classmethod
    def of(
        cls, moments: Moments, receipt: Receipt, adjust: Sequence[str], predictors: Sequence[str],
        exclusion: bool, starts: int,
    ) -> MixtureModel:  # fmt: skip
        """Model of the trials that can be analysed, numbered in their order."""
        rows, trials = moments.analysed, moments.trials
        usable = np.flatnonzero(~receipt.failed)
        squares = sum_by(moments.design[moments.regressors] ** 2, rows.trial, trials)
        scale = np.sqrt(squares / np.maximum(moments.counts, 1.0))
        scale = np.where(scale > 0, scale, 1.0)
        outcome = moments.design[moments.regressors] / scale[rows.trial]
        covariates, z = columns_of(moments, adjust), columns_of(moments, predictors)
        z = np.column_stack([np.ones(len(z)), z])
        effects = 1 if exclusion else 2
        place = np.full(trials, -1)
        place[usable] = np.arange(len(usable))
        groups = tuple(
            _people(moments, place, outcome, covariates, z, side, receipt.received if known else None, effects)
            for side, known in ((~receipt.offered, False), (receipt.offered, True))
        )
        p, q = 2 + effects + covariates.shape[1], z.shape[1]
        free = np.ones((trials, p + 2 + q), dtype=bool)
        free[:, 2 + effects : p] = kept_of(moments, adjust)
        free[:, p] = sum_by((rows.sizes > 1).astype(np.float64), rows.cluster_trial, trials) > 0
        free[:, p + 3 :] = kept_of(moments, predictors)
        begin = _starts(moments, receipt, outcome, covariates, adjust, effects, q, starts)
        begin[:, :, p] = np.where(free[:, p], begin[:, :, p], 0.0)
        return cls((groups[0], groups[1]), begin[:, usable], free[usable], scale[usable], usable)


def _people(
    moments: Moments, place: Ints, outcome: Floats, covariates: Floats, z: Floats, side: Bools, received: Bools | None,
    effects: int,
) -> People:  # fmt: skip
    """People of one arm in the trials that have a place."""
    rows = moments.analysed
    mine = np.flatnonzero(side & (place[rows.trial] >= 0))
    cluster = rows.cluster_of_row[mine]
    first = starts(cluster)
    offered = float(received is not None)
    one, other = np.zeros((2, len(mine), 2 + effects + covariates.shape[1]))
    one[:, 0], one[:, EFFECT] = 1.0, offered
    other[:, 1], other[:, 3 : 2 + effects] = 1.0, offered
    one[:, 2 + effects :] = other[:, 2 + effects :] = covariates[mine]
    return People(
        outcome=outcome[mine], first=one, other=other, predictors=z[mine],
        in_first=None if received is None else received[mine].astype(np.float64), trial=place[rows.trial[mine]],
        practice=np.cumsum(np.diff(cluster, prepend=cluster[:1]) != 0), practice_trial=place[rows.trial[mine[first]]],
        sizes=np.diff(np.append(first, len(mine))).astype(np.float64),
    )  # fmt: skip


def _starts(
    moments: Moments, receipt: Receipt, outcome: Floats, covariates: Floats, adjust: Sequence[str], effects: int,
    q: int, number: int,
) -> Floats:  # fmt: skip
    """The ratio of effects as a start, and compliers in control whose mean is moved from there by so many SDs."""
    rows, trials, p = moments.analysed, moments.trials, 2 + effects + covariates.shape[1]
    slopes = _slopes(moments, outcome, covariates)
    left = outcome - (covariates * slopes[rows.trial]).sum(axis=1)
    cells = [~receipt.offered, receipt.received, receipt.offered & ~receipt.received]
    means, squares, people = [], np.zeros(trials), np.zeros(trials)
    for cell in cells:
        count = sum_by(cell.astype(np.float64), rows.trial, trials)
        mean = sum_by(left * cell, rows.trial, trials) / np.maximum(count, 1.0)
        squares += sum_by(cell * (left - mean[rows.trial]) ** 2, rows.trial, trials)
        people += count
        means.append(mean)
    sd = np.sqrt(np.maximum(squares / np.maximum(people, 1.0), 1e-12))
    control, taker, never = means
    share = np.where(receipt.failed, 0.5, receipt.share)
    iv = np.clip((control - (1.0 - share) * never) / share, control - 3.0 * sd, control + 3.0 * sd)
    out = np.zeros((number, trials, p + 2 + q))
    for at, offset in enumerate(OFFSETS[:number]):
        if effects == 1 or not at:
            complier, other = iv + offset * sd, never
        else:
            complier, other = control + (1.0 - share) * offset * sd, control - share * offset * sd
        out[at, :, 0], out[at, :, 1], out[at, :, EFFECT] = complier, other, taker - complier
        out[at, :, 3 : 2 + effects] = (never - other)[:, None]
        out[at, :, 2 + effects : p] = slopes
        out[at, :, p], out[at, :, p + 1] = 0.35 * sd, np.log(0.93 * sd)
        out[at, :, p + 2] = np.log(share / (1.0 - share))
    return out


def _slopes(moments: Moments, outcome: Floats, covariates: Floats) -> Floats:
    """Slopes of the outcome on covariates within arms by least squares (trials, covariates)."""
    rows, k = moments.analysed, covariates.shape[1]
    arm = moments.design[moments.regressors - 1]
    x = np.column_stack([covariates, np.ones(len(arm)), arm])
    products = np.stack([[sum_by(a * b, rows.trial, moments.trials) for b in x.T] for a in x.T])
    right = np.stack([sum_by(a * outcome, rows.trial, moments.trials) for a in x.T])
    return np.asarray((np.linalg.pinv(products.transpose(2, 0, 1), hermitian=True) @ right.T[:, :, None])[:, :k, 0])
