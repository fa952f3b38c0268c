"""Student's t: intervals and p-values for arrays of estimates."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.special import ndtri, stdtr, stdtrit

from simtrial.arrays import Floats


def critical(df: Floats, level: float) -> Floats:
    """Two-sided critical value of Student's t; infinite df is the normal distribution, NaN stays NaN."""
    upper = 0.5 + level / 2
    finite = np.isfinite(df)
    if finite.all():
        return _quantile(df.tobytes(), df.dtype.str, upper).reshape(df.shape).copy()
    value = np.where(np.isnan(df), np.nan, float(ndtri(upper)))
    value[finite] = _quantile(df[finite].tobytes(), df.dtype.str, upper)
    return value


@lru_cache(maxsize=4)  # methods that share a standard error ask one after the other for the same
def _quantile(content: bytes, kind: str, probability: float) -> Floats:
    """Quantile of Student's t for each of some finite df, the content of an array; counts repeat, and are few."""
    df = np.frombuffer(content, kind)
    if (df != np.floor(df)).any():
        return np.asarray(stdtrit(df, probability))
    each, which = np.unique(df, return_inverse=True)
    return np.asarray(stdtrit(each, probability)[which])


def two_sided(statistic: Floats, df: Floats) -> Floats:
    """Two-sided p-value of a t statistic; an infinite statistic has p = 0."""
    with np.errstate(invalid="ignore"):
        large = np.minimum(df, 1e300)
        return np.asarray(2.0 * stdtr(large, -np.abs(statistic)), dtype=np.float64)
