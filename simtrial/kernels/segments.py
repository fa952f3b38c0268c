"""Sums, means and largest values over the members of a group: participants of a practice, practices of a trial."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats, Ints


def sum_by(values: NDArray[np.generic], group: Ints, groups: int) -> Floats:
    """Sum the last axis within groups: (..., rows) -> (..., groups)."""
    if values.ndim == 1:
        return np.asarray(np.bincount(group, weights=values, minlength=groups), dtype=np.float64)
    if not values.size:
        return np.zeros((*values.shape[:-1], groups))
    flat = values.reshape(-1, values.shape[-1])
    total = np.stack([np.bincount(group, weights=row, minlength=groups) for row in flat])
    return np.asarray(total.reshape(*values.shape[:-1], groups), dtype=np.float64)


def count_by(group: Ints, groups: int) -> Floats:
    """Count the members of each group (groups,)."""
    return np.bincount(group, minlength=groups).astype(np.float64)


def starts(group: Ints) -> Ints:
    """Row of the first member of every group that has one; rows of a group stand together, groups in order."""
    return np.flatnonzero(np.diff(group, prepend=-1))


def largest_by(values: Floats, group: Ints, groups: int, first: Ints | None = None) -> Floats:
    """Largest absolute value within groups that stand together (groups,); 0 where there is none.

    ``first`` are their `starts`, if they are known already.
    """
    out = np.zeros(groups)
    if len(values):
        first = starts(group) if first is None else first
        out[group[first]] = np.maximum.reduceat(np.abs(values), first)
    return out


def first_by(values: Floats, group: Ints, groups: int, first: Ints | None = None) -> Floats:
    """First value of groups that stand together (groups,); 0 where there is none. ``first`` as of `largest_by`."""
    out = np.zeros(groups)
    first = starts(group) if first is None else first
    out[group[first]] = values[first]
    return out
