"""What engines that draw along a Markov chain share: its length, its first values, and whether it has settled.

There is one chain a trial, all trials of a batch at once. Imputations are states of it, ``thin`` sweeps apart, after
``burn_in`` sweeps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Bools, Floats, Ints
from simtrial.estimators.imputation.incomplete import Incomplete, present
from simtrial.flags import BIT
from simtrial.kernels.segments import sum_by
from simtrial.kernels.split_rhat import split_rhat

UNSETTLED = 1.2
"""R-hat of the halves of a chain above which it is flagged.

Without autocorrelation and n states a half it is sqrt(1 + (c - 1)/n), c chi-squared with 1 df: above 1.2 once in 10,000
with n = 30, once in 280 with n = 20.
"""


class Chain(Protocol):
    """Options of an engine with a chain."""

    @property
    def burn_in(self) -> int:
        """Sweeps before the first imputation."""

    @property
    def thin(self) -> int:
        """Sweeps from one imputation to the next."""


class Sweeps:
    """Counts the sweeps of a chain and keeps what shows whether it has settled.

    What is kept of every sweep after ``burn_in`` is the mean of the values imputed, by column and trial.
    """

    def __init__(self, incomplete: Incomplete, columns: tuple[str, ...], chain: Chain) -> None:
        self.chain, self.columns = chain, columns
        self.trials = incomplete.batch.index.trials
        self.rows = {name: np.flatnonzero(incomplete.lacks(name)) for name in columns}
        self._trial = {name: incomplete.batch.index.participant_trial[rows] for name, rows in self.rows.items()}
        counts = [np.bincount(trial, minlength=self.trials) for trial in self._trial.values()]
        self._counts = np.maximum(np.stack(counts), 1) if counts else np.ones((0, self.trials))
        self._kept: list[Floats] = []
        self._started = False

    def before_next(self) -> int:
        """Sweeps up to the next imputation."""
        if self._started:
            return self.chain.thin
        self._started = True
        return self.chain.burn_in + self.chain.thin

    def keeps(self, sweep: int, sweeps: int) -> bool:
        """Whether a sweep of so many up to the next imputation is kept: the chain has burnt in."""
        return sweeps - sweep <= self.chain.thin

    def keep(self, values: Mapping[str, Floats]) -> None:
        """Keep the means of what a sweep imputed; ``values`` are of the participants that lacked one."""
        totals = [sum_by(values[name], self._trial[name], self.trials) for name in self.columns]
        self._kept.append(np.stack(totals) / self._counts)

    @property
    def rhat(self) -> Floats:
        """Largest R-hat of any column (trials,), NaN with few sweeps."""
        if not self._kept:
            return np.full(self.trials, np.nan)
        return np.asarray(split_rhat(np.stack(self._kept)).max(axis=0))

    @property
    def flags(self) -> NDArray[np.int64]:
        """Where the chain has not settled (trials,)."""
        with np.errstate(invalid="ignore"):
            return np.where(self.rhat > UNSETTLED, BIT["chain_unsettled"], 0)


def hot_deck(incomplete: Incomplete, name: str, rng: np.random.Generator) -> tuple[Floats, Bools]:
    """First values of a chain: what is missing is taken from somebody of the same trial at random.

    Returns
    -------
    values, none
        (rows of the level,), and trials in which somebody needs a value and nobody has one (trials,).
    """
    batch = incomplete.batch
    column, index = batch.column(name), batch.index
    values = column.values.copy()
    seen = values >= 0 if column.categories else ~np.isnan(values)
    trial = index.practice_trial if column.level == "practice" else index.participant_trial
    needed = needs(incomplete, name)
    donors = np.flatnonzero(seen)
    count = np.bincount(trial[donors], minlength=index.trials)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    able = needed[count[trial[needed]] > 0]
    place = first[trial[able]] + (rng.random(len(able)) * count[trial[able]]).astype(np.intp)
    values[able] = values[donors[place]]
    return values, (count == 0) & (np.bincount(trial[needed], minlength=index.trials) > 0)


def needs(incomplete: Incomplete, name: str) -> Ints:
    """Rows of the column's own level that are to be filled."""
    index, lacking = incomplete.batch.index, np.flatnonzero(incomplete.lacks(name))
    if incomplete.batch.column(name).level == "practice":
        return np.unique(index.participant_practice[lacking])
    return lacking


def gappy(incomplete: Incomplete) -> tuple[str, ...]:
    """Columns with something to fill, in the order they are filled."""
    return tuple(
        name for name in incomplete.fillable
        if not present(incomplete.batch, name).all() and incomplete.lacks(name).any()
    )  # fmt: skip
