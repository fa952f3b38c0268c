"""Measures robust to outlying estimates: trimmed and winsorised, always beside the plain ones."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

import numpy as np

from simtrial.arrays import Floats
from simtrial.performance import measures
from simtrial.performance.sample import Sample
from simtrial.performance.summing import average, both_errors, present, share, unit, variance_of
from simtrial.performance.tiled import ordered, quantiles
from simtrial.performance.values import Form, Share, Value, undefined

TRIM = 0.05  # share cut off either end
FENCE = 2.0  # winsorised at the quartiles and this many interquartile ranges beyond


def trimmed_bias(sample: Sample, form: Form) -> Value:
    """Mean of e - theta without the lowest and highest 5%; MCSE SD of the winsorised values / (0.9 sqrt n).

    Tukey and McLaughlin (1963).
    """
    d, u = sample.errors()
    n = len(d)
    cut = int(TRIM * n)
    if n - 2 * cut < 2:
        return undefined(n)
    low, high = ordered(d, [cut, n - 1 - cut])
    clipped = d.clip(low, high)
    error = sqrt(variance_of(clipped)) / ((1 - 2 * cut / n) * sqrt(n))
    # those cut off count as the bounds in the winsorised mean
    inner = low if low == high else (n * average(clipped) - cut * (low + high)) / (n - 2 * cut)
    return both_errors(Value(float(inner), error, n).scaled(u), sample.truth_mcse)


def fences(x: Floats) -> tuple[float, float]:
    """Return the quartiles moved out by `FENCE` interquartile ranges."""
    u = unit(x)
    low, high = quantiles(x / u, [0.25, 0.75])
    return float(low - FENCE * (high - low)) * u, float(high + FENCE * (high - low)) * u


def _winsorised(sample: Sample) -> Sample:
    e = sample.estimate
    (seen,) = present(e)
    return sample if len(seen) < 3 else replace(sample, estimate=e.clip(*fences(seen)))


def winsorised_bias(sample: Sample, form: Form) -> Value:
    """Bias with estimates beyond the fences pulled in to them; MCSE of the plain measure on the clipped estimates."""
    return measures.bias(_winsorised(sample), form)


def winsorised_empirical_se(sample: Sample, form: Form) -> Value:
    """Empirical SE with estimates beyond the fences pulled in to them."""
    return measures.empirical_se(_winsorised(sample), form)


def winsorised_rmse(sample: Sample, form: Form) -> Value:
    """Root mean squared error with estimates beyond the fences pulled in to them."""
    return measures.rmse(_winsorised(sample), form)


def winsorised_share(sample: Sample, form: Form) -> Share:
    """Share of estimates beyond the fences."""
    (e,) = present(sample.estimate)
    if len(e) < 3:
        return undefined(len(e))
    low, high = fences(e)
    return share(((e < low) | (e > high)).astype(np.float64))
