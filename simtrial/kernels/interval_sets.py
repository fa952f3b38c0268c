"""Confidence sets that are not one interval: meaning of their two ends, membership, and width."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from simtrial.arrays import Floats

INTERVAL, RAY, TWO_RAYS, WHOLE_LINE, EMPTY = KINDS = ("interval", "ray", "two-rays", "whole-line", "empty")
"""Values of ``ci_type``.

An interval is all between its ends, both included; a ray has one infinite end, the whole line two. Two rays are all
up to ``ci_lower`` and all from ``ci_upper`` on: the values between the ends are those left out. An empty set has no
ends.
"""


def holds(lower: Floats, upper: Floats, apart: ArrayLike, empty: ArrayLike, value: Floats | float) -> Floats:
    """Whether sets hold a value: 1, 0, or NaN where there is no set or no value.

    Parameters
    ----------
    lower, upper
        Ends (sets,); NaN where there is no set, or an empty one.
    apart, empty
        Which sets are two rays, and which are empty (sets,).
    value
        One value, or one for each set (sets,).
    """
    between = np.where(apart, (value <= lower) | (value >= upper), (lower <= value) & (value <= upper))
    unsaid = (np.isnan(lower) | np.isnan(upper)) & ~np.asarray(empty)
    return np.where(unsaid | np.isnan(value), np.nan, between)


def width(lower: Floats, upper: Floats, apart: ArrayLike, empty: ArrayLike) -> Floats:
    """Length of sets (sets,): infinite for every unbounded one, two rays included; 0 for an empty one."""
    with np.errstate(invalid="ignore"):
        length = upper - lower
    return np.where(empty, 0.0, np.where(np.asarray(apart) & ~np.isnan(length), np.inf, length))
