"""Measures of one method: bias, precision, coverage, power.

Notation of Morris, White and Crowther (2019, doi:10.1002/sim.8086): estimates e_i, true value theta, d_i = e_i - theta,
standard errors s_i, V_i = s_i^2, S the SD of the estimates, n replicates that can be used for the measure. Where every
trial has a true value theta_i of its own it stands for theta, and relative measures divide by its mean.
"""

from __future__ import annotations

from math import sqrt

import numpy as np

from simtrial.arrays import Floats
from simtrial.performance.sample import Sample
from simtrial.performance.summing import (
    average,
    both_errors,
    jackknife,
    mean,
    median,
    over_truth,
    present,
    share,
    unit,
    variance_of,
    varies,
    without_each,
)
from simtrial.performance.tiled import where
from simtrial.performance.values import NOTHING, Form, Share, Value, Width, undefined


def n_estimates(sample: Sample, form: Form) -> Value:
    """Replicates with an estimate."""
    return Value(float((~np.isnan(sample.estimate)).sum()), NOTHING, len(sample.estimate))


def n_std_errors(sample: Sample, form: Form) -> Value:
    """Replicates with a standard error."""
    return Value(float((~np.isnan(sample.std_error)).sum()), NOTHING, len(sample.std_error))


def mean_estimate(sample: Sample, form: Form) -> Value:
    """Mean of the estimates; MCSE S/sqrt(n)."""
    return mean(present(sample.estimate)[0])


def median_estimate(sample: Sample, form: Form) -> Value:
    """Median of the estimates; MCSE from order statistics."""
    return median(present(sample.estimate)[0])


def bias(sample: Sample, form: Form) -> Value:
    """Mean of e - theta; MCSE S/sqrt(n), the error of the true value added in squares."""
    d, u = sample.errors()
    return both_errors(mean(d).scaled(u), sample.truth_mcse)


def relative_bias(sample: Sample, form: Form) -> Value:
    """Bias in percent of the absolute true value; undefined for a true value of 0."""
    d, theta, u = sample.errors_beside_truth()
    if not isinstance(theta, float | int):
        return over_truth(100 * d, theta).scaled(u)
    found = bias(sample, form)
    return undefined(found.n) if sample.truth == 0 else found.scaled(100 / abs(sample.truth))


def median_bias(sample: Sample, form: Form) -> Value:
    """Median of e - theta; MCSE from order statistics."""
    d, u = sample.errors()
    return both_errors(median(d).scaled(u), sample.truth_mcse)


def standardised_bias(sample: Sample, form: Form) -> Value:
    """Bias in percent of the empirical SE; MCSE by the delta method with robust errors."""
    (e,), theta = sample.beside_truth(sample.estimate)
    n = len(e)
    if n < 3 or not varies(e):
        return undefined(n)
    u = unit(e)
    e, theta = e / u, theta / u
    s, centre = sqrt(variance_of(e)), theta if isinstance(theta, float | int) else float(theta.mean())
    b = float(e.mean()) - centre
    influence = (e - e.mean() - (theta - centre)) / s - b / (2 * s) * (((e - e.mean()) / s) ** 2 - 1)
    error = float(np.hypot(influence.std(ddof=1) / sqrt(n), sample.truth_mcse / u / s))
    return Value(100 * b / s, 100 * error, n)


def empirical_se(sample: Sample, form: Form) -> Value:
    """SD of the estimates S; MCSE normal S/sqrt(2(n-1)), robust by the fourth moment, or jackknife."""
    (e,) = present(sample.estimate)
    n = len(e)
    if n < 3:
        return undefined(n)
    u = unit(e)
    e = e / u
    s = sqrt(variance_of(e))
    if form == "normal" or s == 0:
        error = s / sqrt(2 * (n - 1))
    elif form == "jackknife":
        error = jackknife(np.sqrt(without_each(e)[1]))
    else:
        q = n / (n - 1) * (e - e.mean()) ** 2
        error = sqrt(n / (n - 1)) * sqrt(float(((q - q.mean()) ** 2).sum())) / (n * 2 * s)
    return Value(s, error, n).scaled(u)


def variance(sample: Sample, form: Form) -> Value:
    """Variance of the estimates S^2; MCSE S^2 sqrt((k-1)/n), k the kurtosis, or normal S^2 sqrt(2/(n-1))."""
    (e,) = present(sample.estimate)
    n = len(e)
    if n < 3:
        return undefined(n)
    u = unit(e)
    e = e / u
    s2 = variance_of(e)
    error = s2 * sqrt(2 / (n - 1))
    if form != "normal" and s2 > 0:
        kurtosis = float(((e - e.mean()) ** 4).mean()) / s2**2
        error = s2 * sqrt(max(kurtosis - 1, 0.0) / n)
    return Value(s2, error, n).scaled(u).scaled(u)


def model_se(sample: Sample, form: Form) -> Value:
    """Root mean squared standard error sqrt(mean V); MCSE sqrt(var(V) / (4 n mean V))."""
    (s,) = present(sample.std_error)
    n = len(s)
    if n < 2:
        return undefined(n)
    u = unit(s)
    v = (s / u) ** 2
    centre = average(v)
    mcse = sqrt(variance_of(v) / (4 * n * centre)) if centre > 0 else NOTHING
    return Value(sqrt(centre), mcse, n).scaled(u)


def relative_error_model_se(sample: Sample, form: Form) -> Value:
    """100 (model SE / empirical SE - 1), over replicates with both; MCSE normal, or from V and (e - mean)^2."""
    e, s = present(sample.estimate, sample.std_error)
    n = len(e)
    if n < 3 or not varies(e) or not s.any():
        return undefined(n)
    u, w = unit(e), unit(s)
    e, v = e / u, (s / w) ** 2
    b, centre = (e - e.mean()) ** 2, average(v)
    ratio = sqrt(centre / variance_of(e))
    if form == "normal":
        mcse = ratio * sqrt(variance_of(v) / (4 * n * centre**2) + 1 / (2 * (n - 1)))
    elif form == "jackknife":
        with np.errstate(divide="ignore", invalid="ignore"):
            mcse = jackknife(np.sqrt(without_each(v)[0] / without_each(e)[1]))
    else:
        r = float(v.sum() / b.sum())
        mcse = 1 / (2 * ratio) * sqrt(float(((v - r * b) ** 2).sum())) / float(b.sum())
    return Value(100 * (ratio * (w / u) - 1), 100 * mcse * (w / u), n)


def relative_bias_variance(sample: Sample, form: Form) -> Value:
    """100 (mean V / S^2 - 1), bias of the variance estimator in percent; MCSE by the jackknife."""
    e, s = present(sample.estimate, sample.std_error)
    if len(e) < 3 or not varies(e):
        return undefined(len(e))
    u, w = unit(e), unit(s)
    e, v = e / u, (s / w) ** 2
    ratio = average(v) / variance_of(e) * (w / u) * (w / u)
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = without_each(v)[0] / without_each(e)[1]
    return Value(100 * (ratio - 1), 100 * jackknife(left_out) * (w / u) * (w / u), len(e))


def relative_mse_variance(sample: Sample, form: Form) -> Value:
    """MSE of V as an estimator of S^2, over S^4: ((mean V - S^2)^2 + var V) / S^4; MCSE by the jackknife."""
    e, s = present(sample.estimate, sample.std_error)
    if len(e) < 4 or not varies(e):
        return undefined(len(e))
    u = unit(e)
    e, v = e / u, (s / u) * (s / u)
    s2 = variance_of(e)
    if not np.isfinite(v).all():
        return undefined(len(e))
    value = (np.square(average(v) - s2) + np.square(v - average(v)).sum() / (len(v) - 1)) / s2**2
    (v_mean, v_var), s2_left = without_each(v), without_each(e)[1]
    with np.errstate(divide="ignore", invalid="ignore"):
        left_out = ((v_mean - s2_left) ** 2 + v_var) / s2_left**2
    return Value(float(value), jackknife(left_out), len(e))


def mse(sample: Sample, form: Form) -> Value:
    """Mean of (e - theta)^2; MCSE SD/sqrt(n), and 2 |bias| times the error of the true value."""
    found, u = _mse(sample)
    return found.scaled(u).scaled(u)


def _mse(sample: Sample) -> tuple[Value, float]:
    """MSE in the square of a unit, and that unit."""
    d, u = sample.errors()
    shift = 2 * abs(float(d.mean())) * (sample.truth_mcse / u) if len(d) and sample.own is None else 0.0
    return both_errors(mean(d**2), shift), u


def rmse(sample: Sample, form: Form) -> Value:
    """Root of the MSE; MCSE by the delta method, MCSE(MSE) / (2 RMSE)."""
    found, u = _mse(sample)
    return _root(found).scaled(u)


def _root(found: Value) -> Value:
    root = sqrt(found.value) if found.value >= 0 else NOTHING
    return Value(root, found.mcse / (2 * root) if root > 0 else NOTHING, found.n)


def relative_mse(sample: Sample, form: Form) -> Value:
    """MSE over theta^2; undefined for a true value of 0."""
    d, theta, u = sample.errors_beside_truth()
    if not isinstance(theta, float | int):
        return over_truth(d**2, theta / u, power=2)
    found, u = _mse(sample)
    if sample.truth == 0:
        return undefined(found.n)
    return found.scaled(u / abs(sample.truth)).scaled(u / abs(sample.truth))


def relative_rmse(sample: Sample, form: Form) -> Value:
    """RMSE over the absolute true value; undefined for a true value of 0."""
    if sample.own is not None:
        return _root(relative_mse(sample, form))
    found = rmse(sample, form)
    return undefined(found.n) if sample.truth == 0 else found.scaled(1 / abs(sample.truth))


def mean_absolute_error(sample: Sample, form: Form) -> Value:
    """Mean of |e - theta|; MCSE SD/sqrt(n)."""
    d, u = sample.errors()
    return both_errors(mean(np.abs(d)).scaled(u), sample.truth_mcse)


def coverage(sample: Sample, form: Form) -> Share:
    """Share of confidence sets that contain the true value, ends included; MCSE sqrt(c(1-c)/n)."""
    found = share(sample.covered)
    return found if found.n else undefined(int((~np.isnan(sample.width)).sum()) if sample.own is None else 0)


def bias_eliminated_coverage(sample: Sample, form: Form) -> Share:
    """Share of sets that contain the mean estimate, or the own true value plus the bias; MCSE sqrt(c(1-c)/n)."""
    (e,), theta = sample.beside_truth(sample.estimate)
    if not len(e):
        return undefined()
    return share(sample.holds(average(e) if sample.own is None else sample.own + average(e - theta)))


def worst_case_coverage(sample: Sample, form: Form) -> Share:
    """Coverage over all replicates, those without an interval counted as not covering."""
    if np.isnan(sample.theta).all():
        return undefined(len(sample.estimate) if sample.own is None else 0)
    if np.isnan(sample.covered).all() and not np.isnan(sample.p_value).all():
        return undefined()  # a test of several terms, which has no interval anywhere
    covered = where(np.isnan(sample.covered), 0.0, sample.covered)
    return share(where(np.isnan(sample.theta), NOTHING, covered))


def lower_miss(sample: Sample, form: Form) -> Share:
    """Share of confidence sets above the true value; two rays or an empty set miss by the side of the estimate."""
    return _misses(sample, above=True)


def upper_miss(sample: Sample, form: Form) -> Share:
    """Share of confidence sets below the true value; two rays or an empty set miss by the side of the estimate."""
    return _misses(sample, above=False)


def _misses(sample: Sample, above: bool) -> Share:
    found = share(sample.missed(above))
    return found if found.n else undefined(coverage(sample, "robust").n)


def rejection_rate(sample: Sample, form: Form) -> Share:
    """Share of p-values below alpha, or without p-values of confidence sets that exclude 0."""
    return share(sample.rejected)


def type_s_rate(sample: Sample, form: Form) -> Share:
    """Share of rejections whose estimate has the wrong sign; undefined for a true value of 0."""
    e, theta = _rejections(sample)
    if not isinstance(theta, float | int):
        known = theta != 0
        e, theta = e[known], theta[known]
    elif sample.truth == 0 or np.isnan(sample.truth):
        return undefined(len(e))
    return share((np.sign(e) != np.sign(theta)).astype(np.float64))


def _rejections(sample: Sample) -> tuple[Floats, Floats | float]:
    """Estimates that reject the null hypothesis, and their true values."""
    (e, rejected), theta = sample.beside_truth(sample.estimate, sample.rejected)
    chosen = rejected == 1
    return e[chosen], theta if isinstance(theta, float | int) else theta[chosen]


def exaggeration_ratio(sample: Sample, form: Form) -> Value:
    """Mean |e| of the rejections over |theta|, or over mean |theta| of the same; undefined for a true value of 0."""
    e, theta = _rejections(sample)
    if not isinstance(theta, float | int):
        return over_truth(np.abs(e), np.abs(theta))
    if sample.truth == 0 or np.isnan(sample.truth):
        return undefined(len(e))
    found = mean(np.abs(e)).scaled(1 / abs(sample.truth))
    return both_errors(found, found.value * sample.truth_mcse / abs(sample.truth))


def mean_width(sample: Sample, form: Form) -> Width:
    """Mean width of the confidence sets; infinite as soon as one is unbounded."""
    widths, u = _widths(sample)
    return mean(widths).scaled(u).sound(bool(np.isinf(widths).any()))


def median_width(sample: Sample, form: Form) -> Width:
    """Median width of the confidence sets, unbounded ones infinite; MCSE from order statistics."""
    widths, u = _widths(sample)
    return median(widths).scaled(u).sound(bool(np.isinf(widths).any()))


def _widths(sample: Sample) -> tuple[Floats, float]:
    """Widths of the sets in a unit that they do not overflow, and that unit."""
    u = unit(sample.ci_lower, sample.ci_upper)
    return present(sample.width_in(u))[0], u


def convergence_rate(sample: Sample, form: Form) -> Share:
    """Share of replicates in which the method gave a result."""
    return share((~sample.failed).astype(np.float64))
