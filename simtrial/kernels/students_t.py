"""Student's t: intervals and p-values for arrays of estimates."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from simtrial.arrays import Floats


def critical(df: Floats, level: float) -> Floats:
    """Two-sided critical value of Student's t; infinite df is the normal distribution, NaN stays NaN."""
    upper = 0.5 + level / 2
    finite = np.isfinite(df)
    value = np.where(np.isnan(df), np.nan, float(ndtri(upper)))
    value[finite] = stdtrit(df[finite], upper)
    return value


def two_sided(statistic: Floats, df: Floats) -> Floats:
    """Two-sided p-value of a t statistic; an infinite statistic has p = 0."""
    with np.errstate(invalid="ignore"):
        large = np.minimum(df, 1e300)
        return np.asarray(2.0 * stdtr(large, -np.abs(statistic)), dtype=np.float64)
