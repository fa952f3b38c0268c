"""Jackknife over practices of a whole multiple imputation: models, draws and analyses without each practice in turn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from simtrial.arrays import Bools, Floats, Ints
from simtrial.batch import Index, ObservedBatch
from simtrial.kernels.segments import sum_by

Refit = Callable[[ObservedBatch], tuple[Floats, Floats]]
"""Pooled estimate of every trial of a batch, and the variance between its imputations, (trials,) each."""


def jackknife_error(batch: ObservedBatch, analysed: Ints, refit: Refit, between: Floats, m: int) -> Floats:
    """Standard error by the jackknife over practices (trials,), less what the draws of m imputations add to it.

    (J - 1)/J sum_j (q_j - mean q)^2 has expectation V + (J - 1) B/m, with V the variance that infinitely many
    imputations would leave: every q_j has draws of its own. The error is the root of V + B/m; NaN where V is estimated
    below 0, or a trial cannot be analysed without one of its practices.

    Parameters
    ----------
    analysed
        Practices with somebody analysed; others change nothing (practices,).
    between
        B (trials,), that of the imputations from all practices.
    """
    index = batch.index
    trial, trials = index.practice_trial, index.trials
    counted = np.zeros(index.practices, dtype=bool)
    counted[analysed] = True
    counted &= (np.bincount(trial, minlength=trials) > 1)[trial]  # every trial keeps one
    place = np.where(counted, np.cumsum(counted) - 1, -1)
    first = np.searchsorted(trial[counted], np.arange(trials))
    place = np.where(counted, place - first[trial], -1)
    estimates, spread = np.full(index.practices, np.nan), np.full(index.practices, np.nan)
    for at in range(int(place.max(initial=-1)) + 1):
        left_out = place == at
        found, own = refit(without(batch, left_out))
        estimates[left_out], spread[left_out] = found[trial[left_out]], own[trial[left_out]]
    count = np.bincount(trial[counted], minlength=trials).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = sum_by(estimates[counted], trial[counted], trials) / count
        squares = sum_by((estimates[counted] - centre[trial[counted]]) ** 2, trial[counted], trials)
        noise = sum_by(spread[counted], trial[counted], trials) / count / m
        variance = (count - 1) / count * squares - (count - 1) * noise
        return np.sqrt(np.where(variance > 0, variance + between / m, np.nan))


def without(batch: ObservedBatch, practices: Bools) -> ObservedBatch:
    """The trials without some practices and their people (practices,); every trial must keep one."""
    index, kept = batch.index, ~practices
    people = kept[index.participant_practice]
    number = np.cumsum(kept) - 1
    made = Index(index.trials, index.practice_trial[kept], number[index.participant_practice[people]])
    chosen = {"practice": kept, "participant": people}
    columns = {
        name: column if column.level == "trial" else replace(column, values=column.values[chosen[column.level]])
        for name, column in batch.columns.items()
    }
    return ObservedBatch(made, columns)
