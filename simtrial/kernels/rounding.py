"""What counts as zero: differences that the rounding of the numbers themselves explains.

A difference is judged against the size of the values it was taken from, never against other differences: those may be
rounding as well. Every test of this kind in the program rests on the constants below.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simtrial.arrays import Floats

ROUNDING = 16.0 * float(np.finfo(np.float64).eps)
"""Differences up to this share of the largest value come from storing the values, or computing them in a few steps."""

COLLINEAR = 1e-11
"""Share of a column's length, inside one cluster, below which what other columns leave of it is rounding.

Gram-Schmidt steps on rows leave about sqrt(n) eps of a column that is a combination of others.
"""

SMALLEST, LARGEST = 1e-45, 1e45
"""Sizes of values whose sixth powers, as in a variance cubed, can be computed with room for sums and inverses."""


def without_rounding(difference: Floats, size: Floats) -> Floats:
    """Differences, exactly 0 where they are rounding beside values of a given size (same shape, or broadcast)."""
    return np.where(np.abs(difference) <= ROUNDING * size, 0.0, difference)


def computable(size: Floats) -> NDArray[np.bool_]:
    """Whether values whose largest has a given size can be computed with; all zeros can."""
    return np.asarray((size == 0.0) | ((size >= SMALLEST) & (size <= LARGEST)))
