"""Summaries of every trial of a block at once: rows sorted by trial in, one value per trial out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints
from simtrial.kernels.segments import count_by, sum_by

Statistic = Callable[[Floats, Ints, int], Floats]
"""Values (rows,) without blanks, the trial of each in rising order (rows,), and how many trials: (trials,)."""


def number(values: Floats, trial: Ints, trials: int) -> Floats:
    """How many values there are (trials,)."""
    return count_by(trial, trials)


def total(values: Floats, trial: Ints, trials: int) -> Floats:
    """Sum (trials,); 0 where there are no values."""
    return sum_by(values, trial, trials)


def mean(values: Floats, trial: Ints, trials: int) -> Floats:
    """Mean (trials,), NaN where there are no values."""
    with np.errstate(invalid="ignore"):
        return np.asarray(sum_by(values, trial, trials) / count_by(trial, trials))


def share(values: Floats, trial: Ints, trials: int) -> Floats:
    """Percentage of ones among zeros and ones (trials,)."""
    return 100.0 * mean(values, trial, trials)


def sd(values: Floats, trial: Ints, trials: int) -> Floats:
    """Standard deviation with n - 1 below (trials,), NaN for fewer than two values; two passes."""
    deviation = values - mean(values, trial, trials)[trial]
    degrees = count_by(trial, trials) - 1.0
    return np.sqrt(sum_by(deviation**2, trial, trials) / np.where(degrees > 0, degrees, np.nan))


def minimum(values: Floats, trial: Ints, trials: int) -> Floats:
    """Smallest value (trials,), NaN where there are none."""
    return _extreme(np.minimum, values, trial, trials)


def maximum(values: Floats, trial: Ints, trials: int) -> Floats:
    """Largest value (trials,), NaN where there are none."""
    return _extreme(np.maximum, values, trial, trials)


def _extreme(choose: np.ufunc, values: Floats, trial: Ints, trials: int) -> Floats:
    out = np.full(trials, np.nan)
    present, first = np.unique(trial, return_index=True)
    if len(present):
        out[present] = choose.reduceat(values, first)
    return out


def quantile(share_below: float) -> Statistic:
    """Return the statistic that finds a quantile as Stata's summarize does.

    With n values in order and h = n p: the mean of the h-th and the next when h is whole, else the one above h.
    """

    def statistic(values: Floats, trial: Ints, trials: int) -> Floats:
        """Find it in every trial (trials,), NaN where there are no values."""
        out = np.full(trials, np.nan)
        n = np.bincount(trial, minlength=trials)
        some = n > 0
        if not some.any():
            return out
        ordered = values[np.lexsort((values, trial))]
        first = np.cumsum(n) - n
        place = n * share_below
        whole = place == np.floor(place)
        low = np.where(whole, place - 1, np.floor(place)).astype(np.intp)
        high = np.where(whole, place, np.floor(place)).astype(np.intp)
        out[some] = 0.5 * (ordered[(first + low)[some]] + ordered[(first + high)[some]])
        return out

    return statistic


STATISTICS: dict[str, Statistic] = {
    "n": number, "sum": total, "share": share, "mean": mean, "sd": sd, "min": minimum, "max": maximum,
    "q1": quantile(0.25), "median": quantile(0.5), "q3": quantile(0.75),
}  # fmt: skip


def latest(values: Floats, trial: Ints, trials: int) -> NDArray[np.bool_]:
    """Whether a moment lies in the last whole unit of its trial (rows,); blanks do not."""
    units = np.floor(values)
    return np.asarray(units == _extreme(np.fmax, units, trial, trials)[trial])
