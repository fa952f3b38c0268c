"""A method against a reference on the same trials: pairing makes small differences visible."""

from __future__ import annotations

from math import sqrt

import numpy as np

from simtrial.arrays import Floats
from simtrial.performance.sample import Sample
from simtrial.performance.summing import jackknife, mean, present, unit, varies, without_each
from simtrial.performance.tiled import where
from simtrial.performance.values import Form, Value, undefined


def relative_precision(sample: Sample, reference: Sample, form: Form) -> Value:
    """100 ((S_ref / S)^2 - 1), the gain in precision over the reference, on replicates with both estimates.

    MCSE normal 200 (S_ref/S)^2 sqrt((1 - rho^2)/(n - 1)), else by the ratio of sums of squares, or jackknife.
    """
    e, r = present(sample.estimate, reference.estimate)
    n = len(e)
    if n < 4 or not varies(e) or not varies(r):
        return undefined(n)
    u, w = unit(e), unit(r)
    e, r, scale = e / u, r / w, (w / u) * (w / u)
    top, bottom = (r - r.mean()) ** 2, (e - e.mean()) ** 2
    ratio = float(top.sum() / bottom.sum())
    if form == "normal":
        shared = float(((e - e.mean()) * (r - r.mean())).sum())
        rho = shared / sqrt(float(top.sum()) * float(bottom.sum()))
        error = 2 * ratio * sqrt(max(1 - rho**2, 0.0) / (n - 1))
    elif form == "jackknife":
        with np.errstate(divide="ignore", invalid="ignore"):
            error = jackknife(without_each(r)[1] / without_each(e)[1])
    else:
        error = sqrt(float(((top - ratio * bottom) ** 2).sum())) / float(bottom.sum())
    return Value(100 * (ratio * scale - 1), 100 * error * scale, n)


def bias_difference(sample: Sample, reference: Sample, form: Form) -> Value:
    """Mean of e - e_ref; MCSE SD/sqrt(n). The true value cancels."""
    e, r = present(sample.estimate, reference.estimate)
    u = unit(e, r)
    return mean(e / u - r / u).scaled(u)


def mse_difference(sample: Sample, reference: Sample, form: Form) -> Value:
    """Mean of d^2 - d_ref^2; MCSE SD/sqrt(n)."""
    (e, r), theta = sample.beside_truth(sample.estimate, reference.estimate)
    u = unit(e, r, theta)
    e, r, theta = e / u, r / u, theta / u
    return mean((e - theta) ** 2 - (r - theta) ** 2).scaled(u).scaled(u)


def _discordant(a: Floats, b: Floats) -> Value:
    """Difference of two shares; MCSE sqrt(x + y - (x - y)^2/n)/n with discordant counts x and y."""
    one, other = present(a, b)
    n = len(one)
    if n == 0:
        return undefined()
    x, y = float(((one == 1) & (other == 0)).sum()), float(((one == 0) & (other == 1)).sum())
    return Value((x - y) / n, sqrt(x + y - (x - y) ** 2 / n) / n, n)


def coverage_difference(sample: Sample, reference: Sample, form: Form) -> Value:
    """Coverage less that of the reference, on replicates where both have an interval."""
    return _discordant(sample.covered, reference.covered)


def rejection_difference(sample: Sample, reference: Sample, form: Form) -> Value:
    """Rejection rate less that of the reference."""
    return _discordant(sample.rejected, reference.rejected)


def width_difference(sample: Sample, reference: Sample, form: Form) -> Value:
    """Mean width of the intervals less that of the reference, on replicates where both are bounded."""
    u = unit(sample.ci_lower, sample.ci_upper, reference.ci_lower, reference.ci_upper)
    a, b = sample.width_in(u), reference.width_in(u)
    one, other = present(where(np.isinf(a), np.nan, a), where(np.isinf(b), np.nan, b))
    return mean(one - other).scaled(u)
